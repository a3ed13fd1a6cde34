// Lets a page ask over gRPC-Web.
import { ask } from "./ask.ts";

Object.assign(globalThis, { ask: (...servers: [string, string, string]) => ask(...servers, {}) });
