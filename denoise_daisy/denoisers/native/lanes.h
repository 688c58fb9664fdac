// Vectors as wide as the machine's, and what is computed lane by lane.

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

enum { FLOATS = BYTES / 4, DOUBLES = BYTES / 8 };

typedef float Floats __attribute__((vector_size(BYTES), aligned(4)));
typedef float HalfFloats __attribute__((vector_size(BYTES / 2), aligned(4)));
typedef double Doubles __attribute__((vector_size(BYTES), aligned(8)));
typedef double WideDoubles __attribute__((vector_size(2 * BYTES), aligned(8)));
typedef int32_t Ints __attribute__((vector_size(BYTES), aligned(4)));
typedef int64_t Longs __attribute__((vector_size(BYTES), aligned(8)));

#define INLINE static inline __attribute__((always_inline))
#define AT(type, place) (*(const type *)(place))
#define PUT(type, place) (*(type *)(place))
#define ALL(type, value) ((type){} + (value))

INLINE Doubles widen(HalfFloats x) { return __builtin_convertvector(x, Doubles); }
INLINE HalfFloats narrow(Doubles x) { return __builtin_convertvector(x, HalfFloats); }

INLINE Floats fma_floats(Floats a, Floats b, Floats c) {
    Floats r;
    for (int i = 0; i < FLOATS; i++) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return r;
}

INLINE Doubles fma_doubles(Doubles a, Doubles b, Doubles c) {
    Doubles r;
    for (int i = 0; i < DOUBLES; i++) r[i] = __builtin_fma(a[i], b[i], c[i]);
    return r;
}

// 2^(i/128), i < 128: the low part's bits, then the high part's less i << 45.
static uint64_t powers[256];

// exp as glibc computes it on machines with FMA, for x <= 0; 0 below -500, where it is
// nothing beside 1.  Without FMA glibc rounds in other places: there it is asked itself.
INLINE Doubles exp_doubles(Doubles x) {
#ifdef __FMA__
    const double shift = 0x1.8p52;
    Doubles n = fma_doubles(x, ALL(Doubles, 0x1.71547652b82fep7), ALL(Doubles, shift));
    Longs bits = (Longs)n, scale;
    n -= shift;
    Doubles r = fma_doubles(n, ALL(Doubles, -0x1.62e42fefa0000p-8), x);
    r = fma_doubles(n, ALL(Doubles, -0x1.cf79abc9e3b39p-47), r);
    Longs tail;
    for (int i = 0; i < DOUBLES; i++) {
        int k = 2 * (bits[i] & 127);
        tail[i] = powers[k];
        scale[i] = powers[k + 1];
    }
    scale += bits << 45;
    const double c2 = 0x1.ffffffffffdbdp-2, c3 = 0x1.555555555543cp-3;
    const double c4 = 0x1.55555cf172b91p-5, c5 = 0x1.1111167a4d017p-7;
    Doubles low = fma_doubles(r, ALL(Doubles, c3), ALL(Doubles, c2));
    Doubles high = fma_doubles(r, ALL(Doubles, c5), ALL(Doubles, c4));
    Doubles r2 = r * r, sum = fma_doubles(r2, low, (Doubles)tail + r);
    sum = fma_doubles(r2 * r2, high, sum);
    Doubles y = fma_doubles((Doubles)scale, sum, (Doubles)scale);
    return (Doubles)((Longs)y & ~(Longs)(x <= -500.0)); // NaN stays
#else
    Doubles y;
    for (int i = 0; i < DOUBLES; i++) y[i] = exp(x[i]);
    return y;
#endif
}

// exp for x <= 0 within 3 units in the last place; 0 below -80.
INLINE Floats exp_floats(Floats x) {
    Ints low = x < ALL(Floats, -80.0f);
    x = (Floats)(((Ints)ALL(Floats, -80.0f) & low) | ((Ints)x & ~low));
    const float shift = 0x1.8p23f;
    Floats n = fma_floats(x, ALL(Floats, 0x1.715476p0f), ALL(Floats, shift));
    Ints bits = (Ints)n;
    n -= shift;
    Floats r = fma_floats(n, ALL(Floats, -0x1.62e4p-1f), x);
    r = fma_floats(n, ALL(Floats, -0x1.7f7d1cp-20f), r);
    Floats y = fma_floats(r, ALL(Floats, 1 / 720.0f), ALL(Floats, 1 / 120.0f));
    y = fma_floats(y, r, ALL(Floats, 1 / 24.0f));
    y = fma_floats(y, r, ALL(Floats, 1 / 6.0f));
    y = fma_floats(y, r, ALL(Floats, 0.5f));
    y = fma_floats(y, r, ALL(Floats, 1.0f));
    y = fma_floats(y, r, ALL(Floats, 1.0f));
    y = (Floats)((Ints)y + (bits << 23));
    return (Floats)((Ints)y & ~low);
}
