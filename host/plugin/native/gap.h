/* What is heard where samples are missing: the sound before them fades out, the sound after them in, without a step. */
#ifndef TIMBREL_GAP_H
#define TIMBREL_GAP_H

#include <stdbool.h>
#include <stdint.h>

#define GAP_LONGEST 2048u /* samples of a fade: 5 ms at any sampling rate up to 400 kHz; a power of two */

typedef struct {
	uint32_t length; /* samples of a fade */
	uint32_t output_samples; /* given out; the last of them are in `past` */
	uint32_t left;   /* of the fade out, which is in `fade` */
	uint32_t risen;  /* of the fade in */
	bool open;       /* samples are missing */
	float past[2][GAP_LONGEST], fade[2][GAP_LONGEST];
} gap;

void gap_start(gap *, double rate); /* nothing has sounded */

/* Mends the next samples in place, of which the first `present_count` are there. Nothing is changed where none are
 * missing. */
void gap_mend(gap *, float *left, float *right, uint32_t count, uint32_t present_count);

#endif
