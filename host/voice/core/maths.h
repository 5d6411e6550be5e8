/* Elementary functions with the same bits everywhere: IEEE additions and multiplications in a fixed order. */
#ifndef TIMBREL_MATHS_H
#define TIMBREL_MATHS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	double cosine, sine;
} Direction;

/* The nearest whole number, halves to even, for |x| < 2^51. */
static inline double nearest(double x)
{
	const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
	return (x + magic) - magic;
}

static inline double whole(double x)
{
	double near = nearest(x);
	return near > x ? near - 1.0 : near;
}

static inline int64_t floor_divide(int64_t number, int64_t by)
{
	int64_t quotient = number / by;
	return quotient * by > number ? quotient - 1 : quotient;
}

/* 2 to the power of an exponent from -1022 to 1023, without branches: loops of it use vectors. */
static inline double normal_power_of_two(double exponent)
{
	const double magic = 6755399441055744.0; /* as in nearest: the sum's last bits are the whole number */
	double shifted = exponent + magic, power = shifted - magic, part = (exponent - power) * 0.69314718055994530942;
	double square = part * part; /* Taylor's series, below 2e-17 for |part| < .347; even and odd powers side by side */
	double even = 1.0 + square * (1.0 / 2 + square * (1.0 / 24 + square * (1.0 / 720 + square * (1.0 / 40320 +
	              square * (1.0 / 3628800 + square * (1.0 / 479001600.0))))));
	double odd = 1.0 + square * (1.0 / 6 + square * (1.0 / 120 + square * (1.0 / 5040 + square * (1.0 / 362880 +
	             square * (1.0 / 39916800 + square * (1.0 / 6227020800.0))))));
	double sum = even + part * odd;
	uint64_t bits;
	memcpy(&bits, &shifted, sizeof bits);
	bits = (bits + 1023) << 52;
	double scale;
	memcpy(&scale, &bits, sizeof scale);
	return sum * scale;
}

static inline double power_of_two(double exponent)
{
	if (exponent < -1022.0)
		return 0.0;
	return normal_power_of_two(exponent > 1023.0 ? 1023.0 : exponent);
}

static inline double exponential(double x)
{
	return power_of_two(x * 1.44269504088896340736);
}

static inline double decibels_to_gain(double decibels)
{
	return power_of_two(decibels * 0.16609640474436811739);
}

/* Natural logarithm of a positive, normal number. */
static inline double logarithm(double x)
{
	uint64_t bits;
	memcpy(&bits, &x, sizeof bits);
	int64_t exponent = (int64_t)(bits >> 52) - 1023;
	bits = (bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL;
	double part;
	memcpy(&part, &bits, sizeof part);
	if (part > 1.41421356237309504880) {
		part *= 0.5;
		++exponent;
	}
	double ratio = (part - 1.0) / (part + 1.0), square = ratio * ratio, sum = 1.0 / 21;
	for (int term = 19; term > 0; term -= 2)
		sum = sum * square + 1.0 / term;
	return 2.0 * ratio * sum + (double)exponent * 0.69314718055994530942;
}

/* Cosine and sine of at most an eighth of a turn to either side, in radians. */
static inline Direction small_direction(double x)
{
	double square = x * x;
	double sine = x * (1.0 + square * (-1.0 / 6 + square * (1.0 / 120 + square * (-1.0 / 5040 +
	              square * (1.0 / 362880 + square * (-1.0 / 39916800 + square * (1.0 / 6227020800.0)))))));
	double cosine = 1.0 + square * (-0.5 + square * (1.0 / 24 + square * (-1.0 / 720 + square * (1.0 / 40320 +
	                square * (-1.0 / 3628800 + square * (1.0 / 479001600.0 + square * (-1.0 / 87178291200.0)))))));
	return (Direction){cosine, sine};
}

/* Cosine and sine of an angle of at least 0 in cycles, and of a quarter if it is larger, without branches. */
static inline Direction quarter_direction(double turns)
{
	double over = turns - 0.25, limited = 0.25 + 0.5 * (over - fabs(over));
	Direction from_eighth = small_direction((limited - 0.125) * 6.28318530717958647693);
	const double root = 0.70710678118654752440;
	return (Direction){root * (from_eighth.cosine - from_eighth.sine), root * (from_eighth.cosine + from_eighth.sine)};
}

/* x with its sign turned where bit 1 of `bits` is set. */
static inline double turned_by(double x, uint64_t bits)
{
	uint64_t value;
	memcpy(&value, &x, sizeof value);
	value ^= (bits & 2) << 62;
	memcpy(&x, &value, sizeof x);
	return x;
}

/* Cosine and sine of an angle in cycles, without branches. */
static inline Direction direction(double turns)
{
	const double magic = 6755399441055744.0; /* as in nearest: the sum's last bits are the number of quarters */
	double part = turns - nearest(turns), shifted = 4.0 * part + magic;
	Direction small = small_direction((part - 0.25 * (shifted - magic)) * 6.28318530717958647693);
	uint64_t quarters, cosine, sine;
	memcpy(&quarters, &shifted, sizeof quarters);
	memcpy(&cosine, &small.cosine, sizeof cosine);
	memcpy(&sine, &small.sine, sizeof sine);
	uint64_t exchanged = (cosine ^ sine) & -(quarters & 1); /* an odd quarter exchanges both */
	cosine ^= exchanged;
	sine ^= exchanged;
	memcpy(&small.cosine, &cosine, sizeof cosine);
	memcpy(&small.sine, &sine, sizeof sine);
	return (Direction){turned_by(small.cosine, quarters + 1), turned_by(small.sine, quarters)};
}

/* Random numbers on [0, 1) as host/signal.py's `uniforms`. */
static inline uint64_t splitmix(uint64_t counter)
{
	counter *= 0x9E3779B97F4A7C15ULL;
	counter = (counter ^ (counter >> 30)) * 0xBF58476D1CE4E5B9ULL;
	counter = (counter ^ (counter >> 27)) * 0x94D049BB133111EBULL;
	return counter ^ (counter >> 31);
}

static inline double uniform(uint64_t seed, uint64_t note, uint64_t index)
{
	return (double)(splitmix(splitmix(splitmix(seed) + note) + index) >> 11) / 9007199254740992.0;
}

#endif
