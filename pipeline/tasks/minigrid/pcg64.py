"""numpy's default random numbers, compiled: `draw(generator, low, high)` is `Generator.integers(low, high)`.

A layout is a dozen draws from a generator of its own, and making that generator in Python takes longer
than a whole episode takes in the engine. This is `SeedSequence` and PCG64 XSL RR 128/64 (O'Neill 2014)
as numpy seeds and reads them, draw by draw.
"""

from numba import njit
import numpy as np

_32, _MASK = np.uint64(32), np.uint64(0xFFFFFFFF)
_MULTIPLIER_HIGH, _MULTIPLIER_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
# A generator's words: the state's upper and lower half, the increment's, and half an output kept for later.
_HIGH, _LOW, _STEP_HIGH, _STEP_LOW, _KEPT, _IS_KEPT = range(6)


@njit(cache=True, nogil=True)
def generator(seed):
    """The state of np.random.default_rng(seed), (6,) uint64, for a seed below 2**32."""
    words = _seed_words(np.uint32(seed))
    found = np.zeros(6, np.uint64)
    high, low = words[0] | words[1] << _32, words[2] | words[3] << _32
    step_high, step_low = words[4] | words[5] << _32, words[6] | words[7] << _32
    found[_STEP_HIGH] = step_high << np.uint64(1) | step_low >> np.uint64(63)
    found[_STEP_LOW] = step_low << np.uint64(1) | np.uint64(1)
    _advance(found)
    found[_LOW] += low
    found[_HIGH] += high + np.uint64(found[_LOW] < low)
    _advance(found)
    return found


@njit(cache=True, nogil=True)
def draw(generator, low, high):
    """A whole number from low to high − 1, by Lemire's method (2019) as numpy does it."""
    span = np.uint64(high - low)
    if span == 1:
        return low
    product = _next_32(generator) * span
    if product & _MASK < span:
        threshold = (np.uint64(1) << _32) % span
        while product & _MASK < threshold:
            product = _next_32(generator) * span
    return low + np.int64(product >> _32)


@njit(cache=True, nogil=True)
def _next_32(generator):
    if generator[_IS_KEPT]:
        generator[_IS_KEPT] = 0
        return generator[_KEPT]
    _advance(generator)
    turn = generator[_HIGH] >> np.uint64(58)
    folded = generator[_HIGH] ^ generator[_LOW]
    output = folded >> turn | folded << (np.uint64(64) - turn & np.uint64(63))
    generator[_KEPT], generator[_IS_KEPT] = output >> _32, 1
    return output & _MASK


@njit(cache=True, nogil=True)
def _advance(generator):
    """state · multiplier + increment, in 128 bits."""
    high, low = generator[_HIGH], generator[_LOW]
    a, b = low >> _32, low & _MASK
    c, d = _MULTIPLIER_LOW >> _32, _MULTIPLIER_LOW & _MASK
    middle = a * d + (b * d >> _32)
    other = b * c + (middle & _MASK)
    carried = a * c + (middle >> _32) + (other >> _32)
    high = carried + high * _MULTIPLIER_LOW + low * _MULTIPLIER_HIGH
    low = low * _MULTIPLIER_LOW + generator[_STEP_LOW]
    generator[_LOW] = low
    generator[_HIGH] = high + generator[_STEP_HIGH] + np.uint64(low < generator[_STEP_LOW])


@njit(cache=True, nogil=True)
def _seed_words(seed):
    """SeedSequence(seed).generate_state(8, np.uint32), as uint64 (8,)."""
    pool = np.zeros(4, np.uint32)
    factor = np.uint32(0x43B0D7E5)
    for i in range(4):
        word, factor = _hash(seed if i == 0 else np.uint32(0), factor, np.uint32(0x931E8875))
        pool[i] = word
    for source in range(4):
        for i in range(4):
            if i != source:
                word, factor = _hash(pool[source], factor, np.uint32(0x931E8875))
                mixed = np.uint32(np.uint32(0xCA01F9DD) * pool[i] - np.uint32(0x4973F715) * word)
                pool[i] = mixed ^ mixed >> np.uint32(16)
    words = np.zeros(8, np.uint64)
    factor = np.uint32(0x8B51F9DD)
    for i in range(8):
        word, factor = _hash(pool[i % 4], factor, np.uint32(0x58F38DED))
        words[i] = word
    return words


@njit(cache=True, nogil=True)
def _hash(word, factor, multiplier):
    word = np.uint32(word ^ factor)
    factor = np.uint32(factor * multiplier)
    word = np.uint32(word * factor)
    return np.uint32(word ^ word >> np.uint32(16)), factor
