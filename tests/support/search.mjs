// Scans as they are asked for on standard input, a line of JSON each, with the module in the file that is named.

import fs from "node:fs";
import readline from "node:readline";

const [host, file] = process.argv.slice(2);
const { load } = await import(host);
const search = await load(fs.readFileSync(file));
console.log("ready");
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { index, high, entropy, farmer, low, count, limit, lowest } = JSON.parse(line);
  search.prepare(index, high, Buffer.from(entropy, "hex"), Buffer.from(farmer, "hex"));
  const began = performance.now();
  const hit = search.scan(low, count, BigInt(limit), lowest);
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ hit: hit && [hit.low, hit.prefix.toString()], seconds }));
}
