// Asks the real plugin, in a relayer that is made up here, and prints what it answered.
const path = require('node:path');
const folder = path.resolve(process.argv[2]);
const plugin = path.join(folder, 'node_modules', '@openzeppelin', 'relayer-plugin-channels');
const { version } = require(path.join(plugin, 'package.json'));

function store() {
  const map = new Map();
  return {
    get: async (key) => map.get(key) ?? null,
    set: async (key, value) => map.set(key, value),
    del: async (key) => map.delete(key),
    exists: async (key) => map.has(key),
    listKeys: async () => [],
    withLock: async (key, work) => work(),
  };
}

async function main() {
  const asked = JSON.parse(require('node:fs').readFileSync(0, 'utf-8'));
  Object.assign(process.env, {
    STELLAR_NETWORK: 'testnet',
    FUND_RELAYER_ID: 'channels-fund',
    PLUGIN_ADMIN_SECRET: asked.admin,
    LIMITED_CONTRACTS: asked.limited.join(','),
  });
  const { handler } = require(plugin);
  for (const name of ['log', 'debug', 'warn', 'error', 'info']) console[name] = () => {};
  const relayer = {
    getRelayer: async () => ({ address: 'GBRPYHIL2CI3FNQ4BXLFMNDLFJUNPU2HY3ZMFSHONUCEOASW7QC7OX2H', network_type: 'stellar' }),
    sendTransaction: async () => ({ id: 'tx', hash: null, status: 'pending' }),
    rpc: async () => ({
      result: { latestLedger: 1, transactionData: asked.data, minResourceFee: '1', results: [{ auth: [], xdr: 'AAAAAQ==' }] },
    }),
  };
  const answers = {};
  for (const [name, { params, limit }] of Object.entries(asked.cases)) {
    const context = { api: { useRelayer: () => relayer }, kv: store(), params, headers: { 'x-api-key': [asked.key] } };
    if (limit !== undefined) process.env.FEE_LIMIT = String(limit);
    else delete process.env.FEE_LIMIT;
    try {
      answers[name] = { status: 200, success: true, data: await handler(context), error: null };
    } catch (error) {
      const known = error.code !== undefined && error.status !== undefined;
      const data = known ? { code: error.code, details: error.details } : {};
      answers[name] = { status: known ? error.status : 500, success: false, data, error: known ? error.message : null };
    }
  }
  process.stdout.write(JSON.stringify({ version, answers }));
}

main();
