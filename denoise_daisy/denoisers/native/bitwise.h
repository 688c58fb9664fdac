// With ndsafir's bits: its order of additions, and its roundings.

// Terms of the distances between the patches and those `shift` and, along l, `dl` farther,
// in a plane; each once for all patches that it belongs to.
static void terms_of(const Tile *g, const Buffers *k, ptrdiff_t plane, ptrdiff_t shift, int dl) {
    const int window = 2 * g->P[3] + 1;
    const int height = (g->rows - 1) * g->row_step + 2 * g->P[2] + 1;
    const int *here = k->l_at + g->R[3], *there = here + dl;
    for (int r = 0; r < height; r++)
    for (int h = 0; h < g->step && h < window; h++) {
        const ptrdiff_t i = plane + r * g->row + here[h];
        const ptrdiff_t other = plane + shift + r * g->row + there[h];
        const float *u = k->u + i, *u2 = k->u + other, *V = k->V + i, *V2 = k->V + other;
        double *term = (double *)k->terms + r * g->term_row + h * g->term_places;
        const int end = g->lanes + (window - 1 - h) / g->step;
        for (int j = 0; j < end; j += FLOATS) {
            const Floats v = AT(Floats, V + j), v2 = AT(Floats, V2 + j);
            const Floats e = AT(Floats, u + j) - AT(Floats, u2 + j);
            const Floats x = (v + v2) * (e * e) / (v * v2);
            PUT(WideDoubles, term + j) = __builtin_convertvector(x, WideDoubles);
        }
    }
}

// Add the terms of each patch of a row, those of a plane, to its distance.
INLINE void add_terms(const Tile *g, const Buffers *k, int row, const int VECTORS, double *d) {
    const double *from = (double *)k->terms + row * g->row_step * g->term_row;
    const int height = 2 * g->P[g->across ? 2 : 3], width = 2 * g->P[g->across ? 3 : 2];
    Doubles sum[VECTORS];
    for (int v = 0; v < VECTORS; v++) sum[v] = AT(Doubles, d + v * DOUBLES);
    for (int y = 0; y <= height; y++)
    for (int x = 0; x <= width; x++) {
        const double *term = from + k->term_y_at[y] + k->term_x_at[x];
        for (int v = 0; v < VECTORS; v++) sum[v] += AT(Doubles, term + v * DOUBLES);
    }
    for (int v = 0; v < VECTORS; v++) PUT(Doubles, d + v * DOUBLES) = sum[v];
}

// Weights of the candidates at dt, dz, dy and every dx: [dx][row][lane].
static void bitwise_weights(const Settings *is, const Tile *g, Buffers *k, int dt, int dz,
                            int dy) {
    const int ax = g->across ? 3 : 2;
    const Doubles scale = ALL(Doubles, is->distance_scale);
    double *w = k->weights;
    for (int dx = -g->R[ax]; dx <= g->R[ax]; dx++, w += ROWS * LANES) {
        const int dr = g->across ? dy : dx, dl = g->across ? dx : dy;
        const ptrdiff_t shift = dt * g->frame + dz * g->plane + dr * g->row;
        double d[ROWS][LANES] = {};
        for (int t = 0; t <= 2 * g->P[0]; t++)
        for (int c = 0; c < is->channels; c++)
        for (int z = 0; z <= 2 * g->P[1]; z++) {
            const ptrdiff_t plane = t * g->frame + c * g->volume + z * g->plane;
            terms_of(g, k, g->centre + g->R[2] * g->row + plane, shift, dl);
            for (int row = 0; row < g->rows; row++)
                switch (g->width) {
                    case 8: add_terms(g, k, row, 8 / DOUBLES, d[row]); break;
                    case 16: add_terms(g, k, row, 16 / DOUBLES, d[row]); break;
                    case 24: add_terms(g, k, row, 24 / DOUBLES, d[row]); break;
                    default: add_terms(g, k, row, LANES / DOUBLES, d[row]);
                }
        }
        for (int row = 0; row < g->rows; row++) {
            double *weight = w + row * LANES;
            int begin, end;
            lanes_compared(g, row, dt || dz, dr, dl, &begin, &end);
            for (int l = 0; l < g->width; l += DOUBLES)
                PUT(Doubles, weight + l) = exp_doubles(-AT(Doubles, d[row] + l) / scale);
            for (int l = 0; l < LANES; l++) {
                if (l < begin || l >= end) weight[l] = 0;
                const double scaled = is->sigma * weight[l];
                k->S1[row][l] = k->S1[row][l] + weight[l];
                k->S2[row][l] = k->S2[row][l] + scaled * scaled;
                const float rounded = weight[l];
                k->most[row][l] = rounded > k->most[row][l] ? rounded : k->most[row][l];
            }
        }
    }
}

#define ACCUMULATE bitwise_accumulate
#define SLIDE bitwise_slide
#define VECTOR Doubles
#define WIDTH DOUBLES
#define WEIGHT double
#define LOAD(place) widen(AT(HalfFloats, place))
#define STORE(place, x) PUT(HalfFloats, place) = narrow(x)
#define ADD(b, w, img) widen(narrow((b) + (w) * (img)))
#include "accumulate.h"
