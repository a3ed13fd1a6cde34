// gRPC-Web that streams requests in one body: `fetch` cannot send them one by one.
import { create, toBinary } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { encodeEnvelopes } from "@connectrpc/connect/protocol";
import { createGrpcWebTransport, type GrpcWebTransportOptions } from "@connectrpc/connect-web";

/** A transport that sends the requests of a stream, one at least, once all are there. */
export function createGatheringTransport(options: GrpcWebTransportOptions): Transport {
  return {
    unary: createGrpcWebTransport(options).unary,
    async stream(method, signal, timeoutMs, header, requests, contextValues) {
      const envelopes: { data: Uint8Array; flags: number }[] = [];
      for await (const each of requests) {
        envelopes.push({ data: toBinary(method.input, create(method.input, each)), flags: 0 });
      }
      const body = encodeEnvelopes(...envelopes);
      const asking = createGrpcWebTransport({ ...options, fetch: (url, init) => fetch(url, { ...init, body }) });
      // To the library one request goes; the body that is sent holds all.
      const asOne = { ...method, methodKind: "server_streaming" } as typeof method;
      return asking.stream(asOne, signal, timeoutMs, header, one(create(method.input)), contextValues);
    },
  };
}

async function* one<Message>(message: Message): AsyncIterable<Message> {
  yield message;
}
