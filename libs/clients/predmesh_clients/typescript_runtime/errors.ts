// How a call fails.
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import type { StreamError } from "./gen/predmesh/prediction/v1/prediction_service_pb.js";

/** One thing that is wrong with a request. */
export interface Violation {
  /** Path of the field, e.g. `instance.carrier` or `instances[3].distance_miles`. */
  readonly field: string;
  /** What is wrong, with the nearest right value where one is near. */
  readonly description: string;
}

/** Why a call, or one row of a stream, was not answered. */
export class PredictionError extends Error {
  override readonly name = "PredictionError";
  /** Its cause, a name of predmesh.errors.v1.ErrorReason; empty where the call did not reach the mesh. */
  readonly reason: string = "";
  /** The variables of the message. */
  readonly metadata: Readonly<Record<string, string>> = {};
  /** What is wrong with the request, where it is the request's fault. */
  readonly violations: readonly Violation[] = [];
  /** When to come again, where the mesh says so. */
  readonly retryAfterMs: number | undefined;
  /** Id of the request in the mesh's logs; empty where it is not known. */
  readonly requestId: string = "";

  constructor(
    /** What kind of trouble it is, e.g. `Code.InvalidArgument`, `Code.Unavailable` or `Code.DeadlineExceeded`. */
    readonly code: Code,
    message: string,
    details: Partial<Pick<PredictionError, "reason" | "metadata" | "violations" | "retryAfterMs" | "requestId">> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    Object.assign(this, details);
  }

  /** The error that a call ended with. */
  static ofCall(cause: unknown): PredictionError {
    const error = ConnectError.from(cause);
    const [info] = error.findDetails(ErrorInfoSchema);
    const [retry] = error.findDetails(RetryInfoSchema);
    const delay = retry?.retryDelay;
    return new PredictionError(
      error.code,
      error.rawMessage,
      {
        reason: info?.reason ?? "",
        metadata: info?.metadata ?? {},
        violations: error.findDetails(BadRequestSchema).flatMap((each) =>
          each.fieldViolations.map(({ field, description }) => ({ field, description })),
        ),
        retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
        requestId: error.findDetails(RequestInfoSchema)[0]?.requestId ?? "",
      },
      { cause },
    );
  }

  /** The error of one row of a stream. */
  static ofStream(error: StreamError): PredictionError {
    return new PredictionError(error.code, error.message, { reason: error.reason });
  }
}
