// Patches of an image, in tiles: side by side along an axis, one lane each.

enum { T, Z, Y, X };

typedef struct {
    int32_t n[4], channels; // voxels along t z y x
    int32_t p[4];           // patch radii
    int32_t iterations, search_t, search_z, is_float32, threads;
    float sigma;
    float first_variance; // of every voxel
    float tolerance;      // weights and variances up to it count for nothing
    float least_variance;
    float mixed_part;     // of the mixed term in the variance of a fusion
    double distance_scale; // weight = exp(-distance / distance_scale)
    double quantile;       // that the test measures by
    double limit;          // of quantiles; a patch below it is accepted
} Settings;

typedef struct {
    const Settings *is;
    const float *img; // t c z y x
    float *u, *V;     // estimate and variance of the iteration before
    float *A, *AV;    // sums of estimates and of variances
    int32_t *N;       // t z y x: how many were added up
} Image;

// An array of four is by t, z, r and l: rows of patches follow each other along r, the
// patches of a row along l; these are y and x, or x and y.
typedef struct {
    int across;           // l is x
    int axis[4];          // as an axis of the image
    int n[4], P[4], R[4]; // voxels of the image, radii of patch and search
    int first[4];         // centre of the first patch
    int lanes, step;      // patches of a row, and voxels from one to the next
    int width;            // lanes that are computed at least
    int rows, row_step;
    // What is packed: [t][c][z][r][residue of l by step][place].
    int extent[4], places;
    ptrdiff_t row, plane, volume, frame; // from one to the next
    ptrdiff_t centre;                    // the first patch's first frame and plane
    // Terms of distances: [r][residue][place].
    int term_places;
    ptrdiff_t term_row;
    ptrdiff_t K; // voxels of a patch, of all channels
} Tile;

typedef struct {
    float variance[LANES];
    uint8_t verdict[LANES];
} Judged;

enum { LEFT_OUT, REJECTED, ACCEPTED };

// A thread's own.
typedef struct {
    float *img, *u, *V; // of a tile, packed; float32 has 1 / V
    void *terms, *weights;
    int *l_at, *y_at, *x_at; // where positions along an axis are packed, R before a patch
    int *term_l_at, *term_y_at, *term_x_at; // and where the terms of a patch are
    float S1[ROWS][LANES], S2[ROWS][LANES], most[ROWS][LANES]; // of weights
    float *B;       // [tile][row][voxel of a patch][lane]
    Judged *judged; // [tile][row]
    Tile *tiles;    // of a strip
} Buffers;

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }

// Voxels from one to the next along t, z, y and x, and from channel to channel.
static void strides_of(const Settings *is, ptrdiff_t *stride, ptrdiff_t *channel) {
    stride[X] = 1;
    stride[Y] = is->n[X];
    stride[Z] = stride[Y] * is->n[Y];
    *channel = stride[Z] * is->n[Z];
    stride[T] = *channel * is->channels;
}

// All that a tile's patches are compared with; zeros outside of the image.
static void pack(const Settings *is, const Tile *g, const float *from, float *to) {
    ptrdiff_t stride[4], channel;
    strides_of(is, stride, &channel);
    int begin[4];
    for (int a = 0; a < 4; a++) begin[a] = g->first[a] - g->P[a] - g->R[a];
    const ptrdiff_t along_r = stride[g->axis[2]], along_l = stride[g->axis[3]];
    for (int t = begin[0]; t < begin[0] + g->extent[0]; t++)
    for (int c = 0; c < is->channels; c++)
    for (int z = begin[1]; z < begin[1] + g->extent[1]; z++)
    for (int r = begin[2]; r < begin[2] + g->extent[2]; r++, to += g->row) {
        const int is_in =
            t >= 0 && t < g->n[0] && z >= 0 && z < g->n[1] && r >= 0 && r < g->n[2];
        if (!is_in) {
            memset(to, 0, sizeof(float) * g->row);
            continue;
        }
        const float *row = from + t * stride[T] + c * channel + z * stride[Z] + r * along_r;
        for (int s = 0; s < g->step; s++) {
            float *place = to + s * g->places;
            const int l = begin[3] + s, step = g->step, left = g->n[3] - l;
            const int end = left <= 0 ? 0 : smaller((left - 1) / step + 1, g->places);
            const int start = l >= 0 ? 0 : smaller((step - 1 - l) / step, end);
            for (int j = 0; j < start; j++) place[j] = 0;
            for (int j = start; j < end; j++) place[j] = row[(l + j * step) * along_l];
            for (int j = end; j < g->places; j++) place[j] = 0;
        }
    }
}

// Add the estimates of a row of patches to the image's, in the order of the patches.
static void add_up(const Image *q, const Tile *g, int row, const float *B,
                   const Judged *judged) {
    const Settings *is = q->is;
    const int *p = is->p, width = 2 * p[X] + 1;
    ptrdiff_t stride[4], channel;
    strides_of(is, stride, &channel);
    int begin[4];
    for (int a = 0; a < 4; a++) begin[g->axis[a]] = g->first[a] - g->P[a];
    begin[g->axis[2]] += row * g->row_step;
    for (int l = 0; l < g->lanes; l++, begin[g->axis[3]] += g->step) {
        if (judged->verdict[l] == LEFT_OUT) continue;
        const int accepted = judged->verdict[l] == ACCEPTED;
        const float variance = judged->variance[l], *b = B + l;
        for (int t = begin[T]; t <= begin[T] + 2 * p[T]; t++)
        for (int c = 0; c < is->channels; c++)
        for (int z = begin[Z]; z <= begin[Z] + 2 * p[Z]; z++)
        for (int y = begin[Y]; y <= begin[Y] + 2 * p[Y]; y++) {
            const ptrdiff_t at = z * stride[Z] + y * stride[Y] + begin[X];
            const ptrdiff_t i = t * stride[T] + c * channel + at;
            float *A = q->A + i, *AV = q->AV + i;
            const float *u = q->u + i, *V = q->V + i;
            for (int x = 0; x < width; x++, b += LANES) {
                A[x] += accepted ? *b : u[x];
                AV[x] += accepted ? variance : V[x];
            }
            if (c > 0) continue;
            int32_t *N = q->N + t * channel + at;
            for (int x = 0; x < width; x++) N[x]++;
        }
    }
}

// The new estimates and variances of a plane.
static void fuse(const Image *q, int t, int c, int z) {
    const Settings *is = q->is;
    const size_t plane = (size_t)is->n[Y] * is->n[X];
    const size_t i = (((size_t)t * is->channels + c) * is->n[Z] + z) * plane;
    const int32_t *N = q->N + ((size_t)t * is->n[Z] + z) * plane;
    float *u = q->u + i, *V = q->V + i;
    for (size_t v = 0; v < plane; v++) {
        if (!(N[v] > is->tolerance)) continue;
        const float A = q->A[i + v] / N[v];
        const float sum = q->AV[i + v] / N[v];
        const float AV = sum < is->least_variance ? is->least_variance : sum;
        if (!(V[v] + AV > is->tolerance)) continue;
        const float r = 1 / (V[v] + AV), a = AV * r, b = V[v] * r;
        u[v] = a * u[v] + b * A;
        V[v] = a * (a * V[v] + b * ((V[v] + AV) * is->mixed_part)) + b * b * AV;
    }
}
