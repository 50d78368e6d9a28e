// The host's part of the search in WebAssembly (wasm.py), for a page's worker or for Node.
//
// load(bytes) gives a Search; search.prepare(...) sets the template and the nonces' high word; search.scan(...) is
// model.py's Scan on low words. Numbers of 64 bits are BigInts.

const MESSAGE = 76;
const RATE = 136;
const STACK = 0x30000; // bytes for what the module keeps on its stack, after its tables
const STATE = STACK;
const LANES = STATE + 256;
const WORDS = LANES + 256;

export async function load(bytes) {
  const memory = new WebAssembly.Memory({ initial: 5 });
  const table = new WebAssembly.Table({ initial: 1, element: "anyfunc" });
  const stack = new WebAssembly.Global({ value: "i32", mutable: true }, STACK);
  const env = { __linear_memory: memory, __stack_pointer: stack, __indirect_function_table: table };
  const { instance } = await WebAssembly.instantiate(bytes, { env });
  return new Search(instance.exports, memory);
}

class Search {
  constructor(code, memory) {
    this.code = code;
    this.memory = memory;
    this.nonces = code.nonces();
  }

  // index: u32. high: the nonces' high word, u32. entropy, farmer: 32 bytes each.
  prepare(index, high, entropy, farmer) {
    const state = new Uint8Array(this.memory.buffer, STATE, 200).fill(0);
    const view = new DataView(this.memory.buffer, STATE);
    view.setUint32(0, index);
    view.setUint32(4, high);
    state.set(entropy, 12);
    state.set(farmer, 44);
    state[MESSAGE] ^= 0x01;
    state[RATE - 1] ^= 0x80;
    this.code.prepare(STATE, LANES, WORDS);
  }

  // {low, prefix} or null, of `count` low words from `low` on, up to 2^32. Of those with a prefix up to `limit` the
  // lowest if `lowest`, else the one with the most leading zero digits in its prefix, on ties the lowest.
  scan(low, count, limit, lowest) {
    const end = low + count;
    let best = null;
    let base = low - (low % this.nonces);
    while (base < end) {
      const blocks = Math.ceil((end - base) / this.nonces);
      const clear = Number(this.code.scan(WORDS, BigInt(base), BigInt(blocks), limit));
      if (clear === blocks) break;
      base += clear * this.nonces;
      for (let nonce = Math.max(base, low); nonce < Math.min(base + this.nonces, end); nonce++) {
        const prefix = BigInt.asUintN(64, this.code.score(LANES, BigInt(nonce)));
        if (prefix > limit) continue;
        best = { low: nonce, prefix };
        if (lowest || prefix === 0n) return best;
        limit = 0xffffffffffffffffn; // now one more zero digit is needed
        while (limit >= prefix) limit >>= 4n;
      }
      base += this.nonces;
    }
    return best;
  }
}
