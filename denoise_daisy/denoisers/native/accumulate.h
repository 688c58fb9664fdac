// Weighted sums of patches of the image: B += w img, candidate after candidate.  Included
// once for each precision, which defines
//   ACCUMULATE, SLIDE       names
//   VECTOR, WIDTH           what is computed with, and how many lanes it has
//   WEIGHT                  a weight
//   LOAD, STORE             WIDTH floats
//   ADD(b, w, img)          b + w img

// SIDE voxels along x of a patch, for BESIDE vectors of lanes.  From one candidate to the
// next the voxels that they need move on by one, so that all but one are there already.
INLINE void SLIDE(const int SIDE, const int BESIDE, const float *img, const int *x_at,
                  const WEIGHT *weights, int candidates, float *B) {
    VECTOR b[BESIDE][SIDE], near[BESIDE][SIDE];
#pragma GCC unroll 8
    for (int v = 0; v < BESIDE; v++)
#pragma GCC unroll 8
        for (int x = 0; x < SIDE; x++) {
            b[v][x] = LOAD(B + x * LANES + v * WIDTH);
            near[v][x] = LOAD(img + x_at[x] + v * WIDTH);
        }
    for (int first = 0; first < candidates; first += SIDE)
#pragma GCC unroll 8
        for (int i = 0; i < SIDE; i++) {
            if (first + i == candidates) break;
            const float *next = img + x_at[first + i + SIDE - 1];
            const WEIGHT *weight = weights + (size_t)(first + i) * ROWS * LANES;
#pragma GCC unroll 8
            for (int v = 0; v < BESIDE; v++) {
                const VECTOR w = AT(VECTOR, weight + v * WIDTH);
                near[v][(i + SIDE - 1) % SIDE] = LOAD(next + v * WIDTH);
#pragma GCC unroll 8
                for (int x = 0; x < SIDE; x++)
                    b[v][x] = ADD(b[v][x], w, near[v][(i + x) % SIDE]);
            }
        }
#pragma GCC unroll 8
    for (int v = 0; v < BESIDE; v++)
#pragma GCC unroll 8
        for (int x = 0; x < SIDE; x++) STORE(B + x * LANES + v * WIDTH, b[v][x]);
}

// Of the candidates at dt, dz, dy and every dx.
static void ACCUMULATE(const Settings *is, const Tile *g, const Buffers *k, int dt, int dz,
                       int dy) {
    const int ax = g->across ? 3 : 2, ay = 5 - ax, side = 2 * g->P[ax] + 1;
    const int candidates = 2 * g->R[ax] + 1;
    const float *img = k->img + g->centre + dt * g->frame + dz * g->plane;
    const int *y_at = k->y_at + g->R[ay] + dy;
    float *B = k->B;
    for (int row = 0; row < g->rows; row++, img += g->row_step * g->row)
    for (int t = 0; t <= 2 * g->P[0]; t++)
    for (int c = 0; c < is->channels; c++)
    for (int z = 0; z <= 2 * g->P[1]; z++)
    for (int y = 0; y <= 2 * g->P[ay]; y++) {
        const float *from = img + t * g->frame + c * g->volume + z * g->plane + y_at[y];
        for (int x = 0; x < side;) {
            const int *x_at = k->x_at + x;
            const int at_once = smaller(side - x, 7);
#define CASE(SIDE, BESIDE)                                                               \
    case SIDE:                                                                           \
        for (int l = 0; l < g->width; l += BESIDE * WIDTH)                                  \
            SLIDE(SIDE, BESIDE, from + l, x_at,                                          \
                  (const WEIGHT *)k->weights + row * LANES + l, candidates, B + l);      \
        break;
            switch (at_once) {
                CASE(7, 1) CASE(6, 1) CASE(5, 1) CASE(4, 1) CASE(3, 2) CASE(2, 2) CASE(1, 2)
            }
#undef CASE
            x += at_once;
            B += at_once * LANES;
        }
    }
}
#undef ACCUMULATE
#undef SLIDE
#undef VECTOR
#undef WIDTH
#undef WEIGHT
#undef LOAD
#undef STORE
#undef ADD
