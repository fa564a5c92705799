// Plays the sign-in of a large provider until our standard input ends: node emulate.mjs MODULE SERVICE PORT SEED
const [module, service, port, seed] = process.argv.slice(2);
const { createEmulator } = await import(module);
await createEmulator({ service, port: Number(port), seed: { [service]: JSON.parse(seed) } });
console.log("ready");
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
