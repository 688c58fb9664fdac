// Within rounding: in float, with fused multiply-add.  V is packed as 1 / V.

enum { TOGETHER = 3 }; // candidates whose distances are computed together

// Sums along r of the terms of distances, [candidate][row][residue][place], all planes.
// Along r a patch is p voxels, one, and p that the next patch shares.
INLINE void columns(const Settings *is, const Tile *g, const Buffers *k, const int MANY,
                    const ptrdiff_t *shift, const int *dl) {
    float *sums = k->terms;
    const int window = 2 * g->P[3] + 1;
    const ptrdiff_t size = g->rows * g->term_row;
    memset(sums, 0, sizeof(float) * MANY * size);
    for (int t = 0; t <= 2 * g->P[0]; t++)
    for (int c = 0; c < is->channels; c++)
    for (int z = 0; z <= 2 * g->P[1]; z++) {
        const ptrdiff_t plane = g->centre + g->R[2] * g->row + t * g->frame + c * g->volume
            + z * g->plane;
        for (int h = 0; h < g->step && h < window; h++) {
            const int *at = k->l_at + g->R[3] + h;
            const int end = g->lanes + (window - 1 - h) / g->step;
            const float *u = k->u + plane + at[0], *V = k->V + plane + at[0];
            const float *u2[MANY], *V2[MANY];
            for (int i = 0; i < MANY; i++) {
                const ptrdiff_t there = plane + shift[i] + at[dl[i]];
                u2[i] = k->u + there;
                V2[i] = k->V + there;
            }
            for (int j = 0; j < end; j += FLOATS) {
                Floats shared[MANY], full[MANY];
                ptrdiff_t r = j;
#define TERM(i) ({ \
    const Floats e = AT(Floats, u + r) - AT(Floats, u2[i] + r); \
    e * e * (AT(Floats, V + r) + AT(Floats, V2[i] + r)); })
#define EACH for (int i = 0; i < MANY; i++)
                EACH shared[i] = ALL(Floats, 0.0f);
                for (int a = 0; a < g->P[2]; a++, r += g->row) EACH shared[i] += TERM(i);
                float *to = sums + h * g->term_places + j;
                for (int row = 0; row < g->rows; row++, to += g->term_row) {
                    EACH full[i] = shared[i] + TERM(i);
                    r += g->row;
                    EACH shared[i] = ALL(Floats, 0.0f);
                    for (int a = 0; a < g->P[2]; a++, r += g->row) EACH shared[i] += TERM(i);
                    EACH PUT(Floats, to + i * size) = AT(Floats, to + i * size) + (full[i] + shared[i]);
                }
#undef EACH
#undef TERM
            }
        }
    }
}

// Weights of the candidates at dt, dz, dy and every dx: [dx][row][lane].
static void float32_weights(const Settings *is, const Tile *g, Buffers *k, int dt, int dz,
                            int dy) {
    const int ax = g->across ? 3 : 2;
    const int candidates = 2 * g->R[ax] + 1, window = 2 * g->P[3] + 1;
    const Floats scale = ALL(Floats, (float)(-1 / is->distance_scale));
    const Floats sigma = ALL(Floats, is->sigma);
    float *w = k->weights;
    for (int first = 0, many; first < candidates; first += many) {
        ptrdiff_t shift[TOGETHER];
        int dr[TOGETHER], dl[TOGETHER];
        many = candidates - first < TOGETHER ? 1 : TOGETHER;
        for (int i = 0; i < many; i++) {
            const int dx = first + i - g->R[ax];
            dr[i] = g->across ? dy : dx;
            dl[i] = g->across ? dx : dy;
            shift[i] = dt * g->frame + dz * g->plane + dr[i] * g->row;
        }
        if (many == TOGETHER) columns(is, g, k, TOGETHER, shift, dl);
        else columns(is, g, k, 1, shift, dl);
        for (int i = 0; i < many; i++, w += ROWS * LANES)
        for (int row = 0; row < g->rows; row++) {
            const float *sums = (float *)k->terms + (i * g->rows + row) * g->term_row;
            float *weight = w + row * LANES;
            int begin, end;
            lanes_compared(g, row, dt || dz, dr[i], dl[i], &begin, &end);
            for (int l = 0; l < g->width; l += FLOATS) {
                Floats d = {};
                for (int h = 0; h < window; h++) d += AT(Floats, sums + k->term_l_at[h] + l);
                PUT(Floats, weight + l) = exp_floats(d * scale);
            }
            for (int l = 0; l < begin; l++) weight[l] = 0;
            for (int l = end; l < LANES; l++) weight[l] = 0;
            for (int l = 0; l < g->width; l += FLOATS) {
                const Floats x = AT(Floats, weight + l), scaled = x * sigma;
                const Floats most = AT(Floats, k->most[row] + l);
                const Ints more = x > most;
                PUT(Floats, k->S1[row] + l) = AT(Floats, k->S1[row] + l) + x;
                PUT(Floats, k->S2[row] + l) = fma_floats(scaled, scaled, AT(Floats, k->S2[row] + l));
                PUT(Floats, k->most[row] + l) = (Floats)(((Ints)x & more) | ((Ints)most & ~more));
            }
        }
    }
}

#define ACCUMULATE float32_accumulate
#define SLIDE float32_slide
#define VECTOR Floats
#define WIDTH FLOATS
#define WEIGHT float
#define LOAD(place) AT(Floats, place)
#define STORE(place, x) PUT(Floats, place) = (x)
#define ADD(b, w, img) fma_floats(w, img, b)
#include "accumulate.h"
