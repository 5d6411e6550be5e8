/* Layers of the decoder, compiled once for each instruction set: NAME gives each its own names, WIDE is the number of
   lanes of its registers. */

typedef float NAME(wide) __attribute__((vector_size(4 * WIDE)));
typedef int32_t NAME(choice) __attribute__((vector_size(4 * WIDE))); /* -1 or 0 each, or a number's bits */

/* An input's weights of the `vector`-th WIDE outputs; those of each eight outputs lie `group_stride` apart. */
static inline NAME(wide) NAME(load_weights)(const float *weights, int32_t vector, int64_t group_stride)
{
	const float *first = weights + vector * WIDE / LANES * group_stride + vector * WIDE % LANES;
#if WIDE > 8
	return __builtin_shufflevector(avx2_load(first), avx2_load(first + group_stride), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	                               11, 12, 13, 14, 15);
#else
	NAME(wide) value;
	memcpy(&value, first, sizeof value);
	return value;
#endif
}

/* outputs[row] = inputs[row] weights + biases of `vectors` vectors of outputs, leaky where `slope` is below 1. Each output
   adds its inputs in order, so that a row is the same alone and among others. `rows` and `vectors` are constants where
   this is called: the sums stay in registers. No branch depends on an output's sign, which cannot be predicted. */
static inline __attribute__((always_inline)) void NAME(dense_block)(const float *inputs, int32_t rows, int32_t vectors,
                                                                    int32_t stride, int32_t count, const float *weights,
                                                                    const float *biases, float slope, float *outputs)
{
	NAME(wide) sums[4][2];
	for (int32_t row = 0; row < rows; ++row)
		for (int32_t vector = 0; vector < vectors; ++vector)
			memcpy(&sums[row][vector], biases + vector * WIDE, sizeof sums[row][vector]);
	for (int32_t place = 0; place < count; ++place)
		for (int32_t vector = 0; vector < vectors; ++vector) {
			NAME(wide) factor = NAME(load_weights)(weights + (int64_t)place * LANES, vector, (int64_t)count * LANES);
			for (int32_t row = 0; row < rows; ++row)
				sums[row][vector] += inputs[(int64_t)row * stride + place] * factor;
		}
	for (int32_t row = 0; row < rows; ++row)
		for (int32_t vector = 0; vector < vectors; ++vector) {
			NAME(wide) sum = sums[row][vector];
			NAME(choice) positive = sum > 0.0f;
			NAME(choice) chosen = ((NAME(choice))sum & positive) | ((NAME(choice))(sum * slope) & ~positive);
			memcpy(outputs + (int64_t)row * stride + vector * WIDE, &chosen, sizeof chosen);
		}
}

static void NAME(dense)(const float *inputs, int32_t rows, int32_t stride, int32_t count, const float *weights,
                        const float *biases, int32_t width, float slope, float *outputs)
{
	for (int32_t column = 0; column < width; column += 2 * WIDE) {
		const float *column_weights = weights + (int64_t)column * count; /* they stay in the first cache for all rows */
		for (int32_t first = 0; first < rows; first += 4) {
			const float *row_inputs = inputs + (int64_t)first * stride;
			float *row_outputs = outputs + (int64_t)first * stride + column;
			int32_t remaining = rows - first;
			if (width - column < 2 * WIDE) /* widths are multiples of 16 */
				NAME(dense_block)(row_inputs, 4, 1, stride, count, column_weights, biases + column, slope, row_outputs);
			else if (remaining == 1)
				NAME(dense_block)(row_inputs, 1, 2, stride, count, column_weights, biases + column, slope, row_outputs);
			else if (remaining == 2)
				NAME(dense_block)(row_inputs, 2, 2, stride, count, column_weights, biases + column, slope, row_outputs);
			else /* rows beyond the last are scratch: their sums are not read */
				NAME(dense_block)(row_inputs, 4, 2, stride, count, column_weights, biases + column, slope, row_outputs);
		}
	}
}
