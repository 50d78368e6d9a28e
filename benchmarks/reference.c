/* The search loop as one would write it by hand, with the shortcuts of the kernels: what hashrate.py compares them to.
 *
 * scan(prefix, low, blocks, limit): hashes blocks of 8 (AVX-512) or 4 (AVX2) nonces, the first at low word `low`;
 * returns the first block with a digest whose first 64 bits, big-endian, are <= limit, or `blocks`.
 * `prefix`: the 25 lanes after theta, rho and pi of round 1 with a low word of zero.
 */
#include <immintrin.h>
#include <stdint.h>

#ifdef __AVX512F__
typedef __m512i V;
#define N 8
#define XOR(a, b) _mm512_xor_si512(a, b)
#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define CHI(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0xD2)
#define ROL(a, n) _mm512_rol_epi64(a, n)
#define SET1(x) _mm512_set1_epi64((long long)(x))
#else
typedef __m256i V;
#define N 4
#define XOR(a, b) _mm256_xor_si256(a, b)
#define XOR3(a, b, c) XOR(XOR(a, b), c)
#define CHI(a, b, c) XOR(a, _mm256_andnot_si256(b, c))
#define ROL(a, n) _mm256_or_si256(_mm256_slli_epi64(a, n), _mm256_srli_epi64(a, 64 - (n)))
#define SET1(x) _mm256_set1_epi64x((long long)(x))
#endif

static const uint64_t CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000A, 0x000000008000808B, 0x800000000000008B, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

#ifdef __AVX512F__
#define EFFECTS /* both words of theta's effect go into one instruction */
#define ADD(a, x) XOR3(a, C[((x) + 4) % 5], R[((x) + 1) % 5])
#else
#define EFFECTS V E[5]; for (int x = 0; x < 5; x++) E[x] = XOR(C[(x + 4) % 5], R[(x + 1) % 5]);
#define ADD(a, x) XOR(a, E[x])
#endif

#define PARITIES \
    V C[5], R[5]; \
    for (int x = 0; x < 5; x++) C[x] = XOR3(XOR3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20]); \
    for (int x = 0; x < 5; x++) R[x] = ROL(C[x], 1); \
    EFFECTS

/* Five lanes of a row after theta, rho and pi, then chi: (lane it comes from, rotation) five times. */
#define ROW(to, l0, r0, l1, r1, l2, r2, l3, r3, l4, r4) do { \
    V p = (r0) ? ROL(ADD(a[l0], l0 % 5), (r0) ? (r0) : 1) : ADD(a[l0], l0 % 5); \
    V q = ROL(ADD(a[l1], l1 % 5), r1), r = ROL(ADD(a[l2], l2 % 5), r2); \
    V s = ROL(ADD(a[l3], l3 % 5), r3), t = ROL(ADD(a[l4], l4 % 5), r4); \
    b[to] = CHI(p, q, r); b[to + 1] = CHI(q, r, s); b[to + 2] = CHI(r, s, t); \
    b[to + 3] = CHI(s, t, p); b[to + 4] = CHI(t, p, q); } while (0)

uint64_t scan(const uint64_t *prefix, uint64_t low, uint64_t blocks, uint64_t limit) {
    for (uint64_t block = 0; block < blocks; block++) {
        uint64_t words[N] __attribute__((aligned(64)));
        for (int i = 0; i < N; i++) words[i] = __builtin_bswap32((uint32_t)(low + block * N + i));
        V d = *(const V *)words;
        V t[25], a[25], b[25];
        for (int i = 0; i < 25; i++) t[i] = SET1(prefix[i]);
        /* Where round 1 takes the nonce's lane: to itself and to the columns on both sides. */
#define TURN(to, n) t[to] = XOR(t[to], ROL(d, n))
        TURN(10, 1);
        TURN(0, 1); TURN(16, 37); TURN(7, 4); TURN(23, 42); TURN(14, 19);
        TURN(20, 62); TURN(11, 6); TURN(2, 43); TURN(18, 15); TURN(9, 61);
        for (int y = 0; y < 25; y += 5)
            for (int x = 0; x < 5; x++) a[y + x] = CHI(t[y + x], t[y + (x + 1) % 5], t[y + (x + 2) % 5]);
        a[0] = XOR(a[0], SET1(CONSTANTS[0]));
#pragma GCC unroll 1
        for (int round = 1; round < 23; round++) {
            PARITIES
            ROW(0, 0, 0, 6, 44, 12, 43, 18, 21, 24, 14);
            ROW(5, 3, 28, 9, 20, 10, 3, 16, 45, 22, 61);
            ROW(10, 1, 1, 7, 6, 13, 25, 19, 8, 20, 18);
            ROW(15, 4, 27, 5, 36, 11, 10, 17, 15, 23, 56);
            ROW(20, 2, 62, 8, 55, 14, 39, 15, 41, 21, 2);
            b[0] = XOR(b[0], SET1(CONSTANTS[round]));
            for (int i = 0; i < 25; i++) a[i] = b[i];
        }
        PARITIES
        V first = CHI(ADD(a[0], 0), ROL(ADD(a[6], 1), 44), ROL(ADD(a[12], 2), 43));
        first = XOR(first, SET1(CONSTANTS[23]));
        *(V *)words = first;
        for (int i = 0; i < N; i++)
            if (__builtin_bswap64(words[i]) <= limit) return block;
    }
    return blocks;
}
