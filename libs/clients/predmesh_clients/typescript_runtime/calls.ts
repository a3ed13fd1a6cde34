// How a call reaches the mesh: transport, deadline, token and retries.
import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { PredictionError } from "./errors.js";
import { createGatheringTransport } from "./gathering.js";

/** What a caller may choose. */
export interface Options {
  /** Sent as bearer token; a function is asked anew for each call. */
  readonly token?: string | (() => string | Promise<string>);
  /** Time that each call may take, retries included. Default: 1000. */
  readonly timeoutMs?: number;
  /** How often a call is tried while the mesh is unavailable. Default: 3. */
  readonly attempts?: number;
  /**
   * How calls travel. Default: gRPC-Web by `fetch`, in browsers and elsewhere, which sends the rows of a stream 100 at a
   * time; `createGrpcTransport` of @connectrpc/connect-node sends each as it comes.
   */
  readonly transport?: (settings: { baseUrl: string; interceptors: Interceptor[] }) => Transport;
}

const FIRST_BACKOFF_MS = 50;
const LONGEST_BACKOFF_MS = 1000;
/** Rows in a body: their answers must find room in buffers, for a browser reads none before it has sent all rows. */
const GATHERED_ROWS = 100;

/** What the clients of all models share. */
export abstract class Caller<Service extends DescService> {
  protected readonly client: Client<Service>;

  protected constructor(
    service: Service,
    target: string,
    private readonly options: Options,
  ) {
    this.client = createClient(service, open(target, options));
  }

  /** This client with another deadline; both use one transport. */
  within(timeoutMs: number): this {
    const other: this = Object.create(Object.getPrototypeOf(this));
    return Object.assign(other, this, { options: { ...this.options, timeoutMs } });
  }

  protected get call(): { timeoutMs: number } {
    return { timeoutMs: this.options.timeoutMs ?? 1000 };
  }

  protected async told<Answer>(answer: Promise<Answer>): Promise<Answer> {
    try {
      return await answer;
    } catch (error) {
      throw PredictionError.ofCall(error);
    }
  }

  protected async *streamed<Row, Answer>(
    rows: Iterable<Row> | AsyncIterable<Row>,
    timeoutMs: number,
    answers: (rows: Iterable<Row> | AsyncIterable<Row>, call: { timeoutMs: number }) => AsyncIterable<Answer>,
  ): AsyncIterable<Answer> {
    try {
      if (this.options.transport !== undefined) {
        yield* answers(rows, { timeoutMs });
        return;
      }
      const end = Date.now() + timeoutMs;
      for await (const some of gathered(rows)) {
        const left = end - Date.now();
        if (left <= 0) throw new ConnectError("the stream is over its time", Code.DeadlineExceeded);
        yield* answers(some, { timeoutMs: left });
      }
    } catch (error) {
      throw PredictionError.ofCall(error);
    }
  }
}

function open(target: string, options: Options): Transport {
  const transport = options.transport ?? createGatheringTransport;
  return transport({
    baseUrl: target.replace(/\/$/, ""),
    interceptors: [authorised(options.token), retrying(options.attempts ?? 3)],
  });
}

async function* gathered<Row>(rows: Iterable<Row> | AsyncIterable<Row>): AsyncIterable<Row[]> {
  let some: Row[] = [];
  for await (const row of rows) {
    some.push(row);
    if (some.length === GATHERED_ROWS) {
      yield some;
      some = [];
    }
  }
  if (some.length > 0) yield some;
}

function authorised(token: Options["token"]): Interceptor {
  return (next) => async (request) => {
    if (token !== undefined) {
      request.header.set("authorization", `Bearer ${typeof token === "function" ? await token() : token}`);
    }
    return next(request);
  };
}

/** Tries again what is safe to try again: every call with one answer. */
function retrying(attempts: number): Interceptor {
  return (next) => async (request) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await next(request);
      } catch (error) {
        const unavailable = ConnectError.from(error).code === Code.Unavailable;
        if (request.stream || attempt >= attempts || !unavailable) {
          throw error;
        }
        const longest = Math.min(FIRST_BACKOFF_MS * 2 ** (attempt - 1), LONGEST_BACKOFF_MS);
        await pause(longest * (0.8 + 0.4 * Math.random()), request.signal);
      }
    }
  };
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = () => {
      clearTimeout(timer);
      reject(ConnectError.from(signal.reason));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", ended);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", ended, { once: true });
    if (signal.aborted) ended();
  });
}
