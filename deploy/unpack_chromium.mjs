// Unpacks the Chromium that npm put below this folder, beside a program that starts it with the libraries and the font
// that came with it.
import { execFileSync } from "node:child_process";
import { createReadStream, createWriteStream, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const packed = "node_modules/@sparticuz/chromium/bin";
const unpack = (from, to) =>
  pipeline(createReadStream(`${packed}/${from}`), createBrotliDecompress(), createWriteStream(to, { mode: 0o755 }));

await unpack("chromium.br", "browser");
for (const part of ["al2023", "fonts"]) {
  await unpack(`${part}.tar.br`, `${part}.tar`);
  mkdirSync(part, { recursive: true });
  execFileSync("tar", ["-xf", `${part}.tar`, "-C", part]);
}
writeFileSync(
  "fonts.conf",
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${resolve("fonts/fonts")}</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>${resolve("fonts/cache")}</cachedir>
</fontconfig>
`,
);
const launcher = `#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/al2023/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/browser" "$@"
`;
writeFileSync("launcher", launcher, { mode: 0o755 });
execFileSync(resolve("launcher"), ["--version"]);
renameSync("launcher", "headless-chromium");
