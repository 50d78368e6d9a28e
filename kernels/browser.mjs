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

// The search on a card, by WebGPU: text is card_text.wgsl's, constants its WGSL_CONSTANTS, search a Search that
// prepares and scores. Raises an Error where the browser has no adapter, or its compiler will not have the text.
export async function loadGpu(search, text, constants) {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("this browser has no WebGPU adapter");
  const device = await adapter.requestDevice();
  const module = device.createShaderModule({ code: text });
  const errors = (await module.getCompilationInfo()).messages.filter((message) => message.type === "error");
  if (errors.length) throw new Error(`line ${errors[0].lineNum}: ${errors[0].message}`);
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module, entryPoint: "search" },
  });
  return new GpuSearch(search, device, pipeline, constants);
}

const RUN = 16; // nonces of a work item
const GROUP = 64; // work items of a group
const GROUPS = 32768; // of one dimension
const RESULTS = 18;
const NOTHING = 0xffffffff;

class GpuSearch {
  constructor(search, device, pipeline, constants) {
    this.search = search;
    this.device = device;
    this.pipeline = pipeline;
    const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    const make = (words, usage) => device.createBuffer({ size: 4 * words, usage });
    this.data = make(50 + constants.length, STORAGE | COPY_DST);
    this.job = make(5, STORAGE | COPY_DST);
    this.results = make(RESULTS, STORAGE | COPY_DST | COPY_SRC);
    this.answer = make(RESULTS, MAP_READ | COPY_DST);
    this.bound = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [this.data, this.job, this.results].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    device.queue.writeBuffer(this.data, 200, Uint32Array.from(constants));
  }

  // As Search.prepare.
  prepare(index, high, entropy, farmer) {
    this.search.prepare(index, high, entropy, farmer);
    const lanes = new Uint32Array(this.search.memory.buffer, LANES, 50);
    const words = new Uint32Array(50);
    for (let bit = 0; bit < 1600; bit++) {
      const lane = bit >> 6;
      const place = bit & 63;
      if ((lanes[2 * lane + (place >> 5)] >>> (place & 31)) & 1) words[2 * lane + (place & 1)] |= 1 << (place >> 1);
    }
    this.device.queue.writeBuffer(this.data, 0, words);
  }

  // As Search.scan, for at most 2^31 nonces; a promise.
  async scan(low, count, limit, lowest) {
    const { queue } = this.device;
    queue.writeBuffer(this.results, 0, new Uint32Array(RESULTS).fill(NOTHING));
    const job = [low, count, Number(limit >> 32n), Number(limit & 0xffffffffn), Number(lowest)];
    queue.writeBuffer(this.job, 0, Uint32Array.from(job));
    const groups = Math.ceil(((low % RUN) + count) / (RUN * GROUP));
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.bound);
    pass.dispatchWorkgroups(Math.min(groups, GROUPS), Math.ceil(groups / GROUPS));
    pass.end();
    encoder.copyBufferToBuffer(this.results, 0, this.answer, 0, 4 * RESULTS);
    queue.submit([encoder.finish()]);
    await this.answer.mapAsync(GPUMapMode.READ);
    const found = new Uint32Array(this.answer.getMappedRange()).slice(0, RESULTS - 1).find((at) => at !== NOTHING);
    this.answer.unmap();
    if (found === undefined) return null;
    return { low: low + found, prefix: BigInt.asUintN(64, this.search.code.score(LANES, BigInt(low + found))) };
  }
}
