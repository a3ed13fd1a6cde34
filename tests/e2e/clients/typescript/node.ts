// Asks over gRPC from Node.
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ask } from "./ask.ts";

declare const process: { argv: string[]; exit(code: number): never };
const [mesh, silent, flaky] = process.argv.slice(2) as [string, string, string];
const transport = (settings: { baseUrl: string }) => createGrpcTransport(settings);
console.log(JSON.stringify(await ask(mesh, silent, flaky, { transport })));
process.exit(0);
