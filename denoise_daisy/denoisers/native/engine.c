// ndsafir's algorithm on a processor's vectors: each lane is a patch of its own, and keeps
// the order of operations that decides the rounding.
//
// The algorithm: J. Boulanger, C. Kervrann, P. Bouthemy, P. Elbau, J.-B. Sibarita and
// J. Salamero, Patch-based nonlocal functional for denoising fluorescence microscopy image
// sequences, IEEE Transactions on Medical Imaging 29(2), 2010, 442-454; as ndsafir
// 2026.1014a0 computes it, which differs (no threshold on distances, no comparison of all
// earlier estimates).  Written for this program from measurements; f() below is rounding
// to float.
//
//   Patches are centred on a grid, and side by side at the far ends of axes.
//   distance   d = sum over the patch of f(f(f(V + V') f(e e)) / f(V V')), e = f(u - u')
//   weight     w = exp(-d / distance_scale) of each candidate in the window but itself;
//              its own is the largest of these
//   estimate   B = sum of w img' / sum of w, its variance AV = sum (sigma w)^2 / (sum w)^2
//   test       D = sum of (B - u)^2 / V; not accepted, u and V are kept
//   fusion     of the mean of all patches at a voxel, with u, by inverse variance
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 32, ROWS = 4 };

#include "lanes.h"
#include "patches.h"

// The lanes of a row whose candidates at dr, dl (of another plane, if `elsewhere`) lie in
// the image and are not the patch itself.
static void lanes_compared(const Tile *g, int row, int elsewhere, int dr, int dl,
                           int *begin, int *end) {
    const int r = g->first[2] + row * g->row_step + dr, l = g->first[3] + dl;
    const int left = g->n[3] - g->P[3] - 1 - l;
    const int is_in = r >= g->P[2] && r <= g->n[2] - g->P[2] - 1 && left >= 0;
    *end = is_in && (elsewhere || dr || dl) ? smaller(g->lanes, left / g->step + 1) : 0;
    *begin = smaller(*end, larger(0, g->P[3] - l + g->step - 1) / g->step);
}

#include "bitwise.h"
#include "float32.h"

// The weighted mean of each patch of a row, held against its present estimate.
static void judge(const Settings *is, const Tile *g, const Buffers *k, int row) {
    float *B = k->B + (size_t)row * g->K * LANES, inverse[LANES];
    const float *S1 = k->S1[row], *S2 = k->S2[row], *most = k->most[row];
    float sum[LANES], squares[LANES];
    double D[LANES] = {};
    for (int l = 0; l < LANES; l++) {
        const float scaled = is->sigma * most[l];
        sum[l] = S1[l] + most[l];
        squares[l] = S2[l] + scaled * scaled;
        inverse[l] = 1 / sum[l];
    }
    const int ax = g->across ? 3 : 2, ay = 5 - ax;
    const int *y_at = k->y_at + g->R[ay], *x_at = k->x_at + g->R[ax];
    for (int t = 0; t <= 2 * g->P[0]; t++)
    for (int c = 0; c < is->channels; c++)
    for (int z = 0; z <= 2 * g->P[1]; z++)
    for (int y = 0; y <= 2 * g->P[ay]; y++)
    for (int x = 0; x <= 2 * g->P[ax]; x++, B += LANES) {
        const ptrdiff_t i = g->centre + t * g->frame + c * g->volume + z * g->plane
            + row * g->row_step * g->row + y_at[y] + x_at[x];
        const float *img = k->img + i, *u = k->u + i, *V = k->V + i;
        if (is->is_float32) {
            for (int l = 0; l < LANES; l++) {
                B[l] = (B[l] + most[l] * img[l]) * inverse[l];
                const float e = B[l] - u[l];
                D[l] += e * e * V[l];
            }
        } else {
            for (int l = 0; l < LANES; l++) {
                B[l] = (B[l] + most[l] * img[l]) * inverse[l];
                const double e = B[l] - u[l];
                D[l] += e * e / V[l];
            }
        }
    }
    Judged *o = k->judged + row;
    for (int l = 0; l < LANES; l++) {
        const int is_like = D[l] / is->quantile < is->limit;
        o->verdict[l] = !(sum[l] > is->tolerance) ? LEFT_OUT : is_like ? ACCEPTED : REJECTED;
        o->variance[l] = squares[l] / (sum[l] * sum[l]);
    }
}

// Patches of some rows: compare each with its surroundings, and average.
static void average(const Image *q, const Tile *g, Buffers *k) {
    const Settings *is = q->is;
    pack(is, g, q->img, k->img);
    pack(is, g, q->u, k->u);
    pack(is, g, q->V, k->V);
    const ptrdiff_t size = g->extent[0] * g->frame;
    if (is->is_float32)
        for (ptrdiff_t i = 0; i < size; i++) k->V[i] = k->V[i] > 0 ? 1 / k->V[i] : 0;
    memset(k->B, 0, sizeof(float) * LANES * g->K * g->rows);
    memset(k->S1, 0, sizeof k->S1);
    memset(k->S2, 0, sizeof k->S2);
    memset(k->most, 0, sizeof k->most);
    const int ay = g->across ? 2 : 3;
    const int rows = (g->rows - 1) * g->row_step, lanes = (g->lanes - 1) * g->step;
    const int y0 = g->first[ay], y1 = y0 + (g->across ? rows : lanes);
    const int last_y = g->n[ay] - g->P[ay] - 1;
    for (int dt = -g->R[0]; dt <= g->R[0]; dt++)
    for (int dz = -g->R[1]; dz <= g->R[1]; dz++)
    for (int dy = -g->R[ay]; dy <= g->R[ay]; dy++) {
        const int t = g->first[0] + dt, z = g->first[1] + dz;
        if (t < g->P[0] || t > g->n[0] - g->P[0] - 1) continue;
        if (z < g->P[1] || z > g->n[1] - g->P[1] - 1) continue;
        if (y1 + dy < g->P[ay] || y0 + dy > last_y) continue;
        if (is->is_float32) {
            float32_weights(is, g, k, dt, dz, dy);
            float32_accumulate(is, g, k, dt, dz, dy);
        } else {
            bitwise_weights(is, g, k, dt, dz, dy);
            bitwise_accumulate(is, g, k, dt, dz, dy);
        }
    }
    for (int row = 0; row < g->rows; row++) judge(is, g, k, row);
}

// Patches whose centres lie on a grid; arrays of four are by t, z, r and l.
typedef struct {
    int across, first[4], count[4], step[4];
} Grid;

// Rows that are done together: where they touch, their terms can serve both.
static int rows_of(const Settings *is, const Grid *grid) {
    const int p = is->p[grid->across ? Y : X];
    return grid->step[2] == p + 1 ? smaller(ROWS, grid->count[2]) : 1;
}

// Lanes with which the terms of a row fill whole vectors: where patches are farther apart
// than 1, a row of them has one place more.
static int lanes_of(const Grid *grid) { return LANES - (grid->step[3] > 1); }

// The tile of so many rows and lanes that begins there.
static Tile tile_at(const Settings *is, const int *R, const Grid *grid, const int *first,
                    int rows, int lanes) {
    Tile g = {.across = grid->across, .axis = {T, Z, Y, X}};
    if (!g.across) g.axis[2] = X, g.axis[3] = Y;
    g.rows = rows;
    g.lanes = lanes;
    g.width = (lanes + 7) / 8 * 8;
    g.row_step = grid->step[2];
    g.step = grid->step[3];
    g.K = is->channels;
    for (int a = 0; a < 4; a++) {
        g.first[a] = first[a];
        g.n[a] = is->n[g.axis[a]];
        g.P[a] = is->p[g.axis[a]];
        g.R[a] = R[g.axis[a]];
        g.extent[a] = 2 * (g.P[a] + g.R[a]) + 1;
        g.K *= 2 * g.P[a] + 1;
    }
    g.extent[2] += (rows - 1) * g.row_step;
    g.term_places = (LANES + 2 * g.P[3] / g.step + FLOATS - 1) / FLOATS * FLOATS;
    g.term_row = g.step * g.term_places;
    g.places = g.term_places + 2 * g.R[3] / g.step + 1;
    g.row = g.step * g.places;
    g.plane = g.extent[2] * g.row;
    g.volume = g.extent[1] * g.plane;
    g.frame = is->channels * g.volume;
    g.centre = g.R[0] * g.frame + g.R[1] * g.plane;
    return g;
}

// Memory for a strip of tiles: that size, and where its parts begin.
static size_t buffers(const Settings *is, const Tile *g, int tiles, Buffers *k, char *memory) {
    const int side = larger(g->P[2] + g->R[2], g->P[3] + g->R[3]) * 2 + 1;
    const size_t packed = sizeof(float) * g->extent[0] * g->frame;
    const size_t rows = (g->rows - 1) * g->row_step + 2 * g->P[2] + 1;
    const size_t terms = (rows + TOGETHER * ROWS) * g->term_row;
    size_t size = 0;
#define PART(field, bytes) k->field = (void *)(memory + size), size += ((bytes) + 63) / 64 * 64
    PART(img, packed);
    PART(u, packed);
    PART(V, packed);
    PART(terms, sizeof(double) * terms);
    PART(weights, sizeof(double) * ROWS * LANES * side);
    PART(l_at, sizeof(int) * side);
    PART(y_at, sizeof(int) * side);
    PART(x_at, sizeof(int) * side);
    PART(term_l_at, sizeof(int) * side);
    PART(term_y_at, sizeof(int) * side);
    PART(term_x_at, sizeof(int) * side);
    PART(B, sizeof(float) * LANES * g->K * g->rows * tiles);
    PART(judged, sizeof(Judged) * g->rows * tiles);
    PART(tiles, sizeof(Tile) * tiles);
#undef PART
    return size + 64;
}

// Where positions of the packed image and of terms are.
static void find_places(const Tile *g, const Buffers *k) {
    const int side = 2 * (g->P[3] + g->R[3]) + 1;
    for (int i = 0; i < side; i++) {
        k->l_at[i] = i % g->step * g->places + i / g->step;
        k->term_l_at[i] = i % g->step * g->term_places + i / g->step;
    }
    memcpy(g->across ? k->x_at : k->y_at, k->l_at, sizeof(int) * side);
    memcpy(g->across ? k->term_x_at : k->term_y_at, k->term_l_at, sizeof(int) * side);
    int *const r_at = g->across ? k->y_at : k->x_at;
    int *const term_r_at = g->across ? k->term_y_at : k->term_x_at;
    for (int i = 0; i <= 2 * (g->P[2] + g->R[2]); i++) {
        r_at[i] = i * g->row;
        term_r_at[i] = i * g->term_row;
    }
}

// Strips of the grid, each some rows over its whole length: any thread averages one, and
// they are added up as if one thread did them in order.
typedef struct {
    const Image *q;
    const Grid *grid;
    const int *R;
    int rows, lanes, tiles; // of a strip
    int planes, strips;     // strips of a plane
    int overlapping;        // strips behind one that may share voxels with it
    int next, threads;      // strip to do, and threads that have begun
    int *added;             // strips of each plane
    pthread_mutex_t lock;   // of what was added
    pthread_cond_t progress;
    char *memory;
    size_t size; // of a thread's memory
} Work;

// Whether all strips before this one are added up that may share voxels with it: those of
// its plane, and, as these waited for theirs, those of the plane before.
static int may_add(const Work *w, int plane, int strip) {
    if (w->added[plane] < strip) return 0;
    return !plane || w->added[plane - 1] >= smaller(strip + w->overlapping + 1, w->strips);
}

static void do_strip(Work *w, Buffers *k, int plane, int strip) {
    const Settings *is = w->q->is;
    const Grid *grid = w->grid;
    const int done = strip * w->rows, rows = smaller(w->rows, grid->count[2] - done);
    int first[4] = {
        grid->first[0] + plane / grid->count[1] * grid->step[0],
        grid->first[1] + plane % grid->count[1] * grid->step[1],
        grid->first[2] + done * grid->step[2],
    };
    float *const B = k->B;
    Judged *const judged = k->judged;
    Tile *const tiles = k->tiles;
    for (int i = 0; i < w->tiles; i++) {
        const int before = i * w->lanes, lanes = smaller(w->lanes, grid->count[3] - before);
        first[3] = grid->first[3] + before * grid->step[3];
        tiles[i] = tile_at(is, w->R, grid, first, rows, lanes);
        k->B = B + (size_t)i * rows * tiles[i].K * LANES;
        k->judged = judged + i * rows;
        average(w->q, tiles + i, k);
    }
    k->B = B;
    k->judged = judged;
    pthread_mutex_lock(&w->lock);
    while (!may_add(w, plane, strip)) pthread_cond_wait(&w->progress, &w->lock);
    pthread_mutex_unlock(&w->lock);
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < w->tiles; i++) {
            const size_t patch_row = (size_t)i * rows + row;
            add_up(w->q, tiles + i, row, B + patch_row * tiles[i].K * LANES, judged + patch_row);
        }
    pthread_mutex_lock(&w->lock);
    w->added[plane]++;
    pthread_cond_broadcast(&w->progress);
    pthread_mutex_unlock(&w->lock);
}

static void *do_strips(void *work) {
    Work *w = work;
    const int number = __atomic_fetch_add(&w->threads, 1, __ATOMIC_RELAXED);
    Buffers k;
    const int first[4] = {};
    const Tile largest = tile_at(w->q->is, w->R, w->grid, first, w->rows, w->lanes);
    buffers(w->q->is, &largest, w->tiles, &k, w->memory + number * w->size);
    find_places(&largest, &k);
    for (int i; (i = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < w->planes * w->strips;)
        do_strip(w, &k, i / w->strips, i % w->strips);
    return NULL;
}

// By so many threads, of which this is one; fewer where there can't be more.
static void on_threads(int threads, void *(*work)(void *), void *with) {
    pthread_t others[threads];
    int started = 0;
    while (started < threads - 1 && !pthread_create(others + started, NULL, work, with)) started++;
    work(with);
    while (started) pthread_join(others[--started], NULL);
}

// All patches of a grid; or, asked to measure, just the memory that a thread needs.
static int patches_of(const Image *q, const int *R, const Grid *grid, size_t *measure) {
    const Settings *is = q->is;
    Work w = {.q = q, .grid = grid, .R = R};
    w.rows = rows_of(is, grid);
    w.lanes = lanes_of(grid);
    w.tiles = (grid->count[3] + w.lanes - 1) / w.lanes;
    w.strips = (grid->count[2] + w.rows - 1) / w.rows;
    w.planes = grid->count[0] * grid->count[1];
    // Several rows only where a patch reaches no farther than the next.
    w.overlapping = 2 * is->p[grid->across ? Y : X] / grid->step[2];
    const int first[4] = {};
    const Tile largest = tile_at(is, R, grid, first, w.rows, w.lanes);
    Buffers k;
    w.size = buffers(is, &largest, w.tiles, &k, NULL);
    if (measure) {
        if (w.size > *measure) *measure = w.size;
        return 0;
    }
    const int threads = smaller(is->threads, w.planes * w.strips);
    w.memory = aligned_alloc(64, w.size * threads);
    w.added = calloc(w.planes, sizeof *w.added);
    const int failed = !w.memory || !w.added;
    if (!failed) {
        pthread_mutex_init(&w.lock, NULL);
        pthread_cond_init(&w.progress, NULL);
        on_threads(threads, do_strips, &w);
        pthread_cond_destroy(&w.progress);
        pthread_mutex_destroy(&w.lock);
    }
    free(w.memory);
    free(w.added);
    return failed;
}

typedef struct {
    const Image *q;
    int next;
} Planes;

static void *do_planes(void *work) {
    Planes *w = work;
    const Settings *is = w->q->is;
    const int depth = is->n[Z], channels = is->channels, planes = is->n[T] * channels * depth;
    for (int i; (i = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < planes;)
        fuse(w->q, i / depth / channels, i / depth % channels, i % depth);
    return NULL;
}

// All patches of an iteration: on the grid, then side by side at the far ends of axes.
static int iteration(const Image *q, int k, size_t *measure) {
    const Settings *is = q->is;
    const int *n = is->n, *p = is->p;
    const int search[4] = {is->search_t ? larger(k - 2, 0) : 0, is->search_z ? k : 0, 1 << k, 1 << k};
    const int step[4] = {larger(1, p[T]), n[Z] > 4 * p[Z] + 1 ? p[Z] + 1 : 1, p[Y] + 1, p[X] + 1};
    int all[4], last[4], on_grid[4], R[4];
    for (int a = 0; a < 4; a++) {
        last[a] = n[a] - p[a] - 1;
        all[a] = n[a] - 2 * p[a];
        if (all[a] < 1) return 0; // the image is smaller than a patch
        on_grid[a] = (all[a] - 1) / step[a] + 1;
        R[a] = smaller(search[a], all[a] - 1); // as far as there are patches
    }
    const Grid main = {
        .across = 1,
        .first = {p[T], p[Z], p[Y], p[X]},
        .count = {on_grid[T], on_grid[Z], on_grid[Y], on_grid[X]},
        .step = {step[T], step[Z], step[Y], step[X]},
    };
    const Grid far_x = {
        .first = {p[T], p[Z], last[X], p[Y]},
        .count = {all[T], all[Z], 1, all[Y]},
        .step = {1, 1, 1, 1},
    };
    const Grid far_y = {
        .across = 1,
        .first = {p[T], p[Z], last[Y], p[X]},
        .count = {all[T], all[Z], 1, all[X]},
        .step = {1, 1, 1, 1},
    };
    const Grid far_z = {
        .across = 1,
        .first = {p[T], last[Z], p[Y], p[X]},
        .count = {all[T], 1, all[Y], all[X]},
        .step = {1, 1, 1, 1},
    };
    // The last is that of z once more, where one would expect t.
    const Grid *const grids[] = {
        &main,
        p[X] > 1 ? &far_x : NULL,
        p[Y] > 1 ? &far_y : NULL,
        p[Z] > 1 ? &far_z : NULL,
        p[T] > 1 ? &far_z : NULL,
    };
    for (int i = 0; i < 5; i++)
        if (grids[i] && patches_of(q, R, grids[i], measure)) return 1;
    return 0;
}

#define EXPORT __attribute__((visibility("default")))

// The low and high parts of 2^(i/128), as `exp_doubles` takes them.
EXPORT void set_powers(const uint64_t *given) { memcpy(powers, given, sizeof powers); }

// exp of n numbers <= 0, a multiple of 8.
EXPORT void exps(const double *x, double *y, int n) {
    for (int i = 0; i < n; i += DOUBLES) PUT(Doubles, y + i) = exp_doubles(AT(Doubles, x + i));
}

// By which a library of other sources can be told.
EXPORT int bytes_of_settings(void) { return sizeof(Settings); }

// Bytes that a thread needs beside the image.
EXPORT size_t bytes_per_thread(const Settings *is) {
    const Image q = {.is = is};
    size_t most = 0;
    iteration(&q, is->iterations - 1, &most);
    return most;
}

// Denoise img, (t, c, z, y, x); the result is in u.  1 where memory is short.
EXPORT int denoise(const Settings *is, const float *img, float *u) {
    const size_t positions = (size_t)is->n[T] * is->n[Z] * is->n[Y] * is->n[X];
    const size_t voxels = positions * is->channels;
    float *const memory = malloc(sizeof(float) * (3 * voxels + positions));
    if (!memory) return 1;
    Image q = {.is = is, .img = img, .u = u, .V = memory};
    q.A = q.V + voxels;
    q.AV = q.A + voxels;
    q.N = (int32_t *)(q.AV + voxels);
    memcpy(u, img, sizeof(float) * voxels);
    for (size_t i = 0; i < voxels; i++) q.V[i] = is->first_variance;
    int failed = 0;
    for (int k = 0; k < is->iterations && !failed; k++) {
        memset(q.A, 0, sizeof(float) * (2 * voxels + positions));
        failed = iteration(&q, k, NULL);
        Planes planes = {.q = &q};
        const int images = is->n[T] * is->channels * is->n[Z];
        if (!failed) on_threads(smaller(is->threads, images), do_planes, &planes);
    }
    free(memory);
    return failed;
}
