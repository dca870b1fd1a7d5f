-- Checksums and hashes over bytes; each gives the digest as bytes. 64-bit words are LuaJIT's own (`ffi`, `bit`).
local ffi = require("ffi")
local byte, char, concat, rep = string.byte, string.char, table.concat, string.rep
local band, bor, bxor, bnot = bit.band, bit.bor, bit.bxor, bit.bnot
local lshift, rshift, rol, ror, tobit = bit.lshift, bit.rshift, bit.rol, bit.ror, bit.tobit

local hash = {}
P.hash = hash

local function big32(value)
  return char(rshift(value, 24), band(rshift(value, 16), 255), band(rshift(value, 8), 255), band(value, 255))
end

local function little32(value)
  return char(band(value, 255), band(rshift(value, 8), 255), band(rshift(value, 16), 255), rshift(value, 24))
end

local function big64(value)
  return big32(tonumber(rshift(value, 32))) .. big32(tonumber(band(value, 0xFFFFFFFFULL)))
end

local function word_big(text, at)
  local one, two, three, four = byte(text, at, at + 3)
  return bor(lshift(one, 24), lshift(two, 16), lshift(three, 8), four)
end

local function word_little(text, at)
  local one, two, three, four = byte(text, at, at + 3)
  return bor(one, lshift(two, 8), lshift(three, 16), lshift(four, 24))
end

local function as64(word)
  return ffi.cast("uint64_t", ffi.cast("uint32_t", word))
end

local function long_big(text, at)
  return bor(lshift(as64(word_big(text, at)), 32), as64(word_big(text, at + 4)))
end

local function long_little(text, at)
  return bor(as64(word_little(text, at)), lshift(as64(word_little(text, at + 4)), 32))
end

-- The end of a message (RFC 1321 3.1, FIPS 180-4 5.1): a bit, zeros, and the length in bits in `size` bytes.
local function padded(data, block, size, little)
  local bits = #data * 8
  local length = little and little32(tobit(bits)) .. little32(math.floor(bits / 2 ^ 32))
    or big32(math.floor(bits / 2 ^ 32)) .. big32(tobit(bits))
  return data .. "\128" .. rep("\0", -(#data + 1 + size) % block + size - 8) .. length
end

-- RFC 1321.
local SINES, TURNS = {}, { 7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21 }
for i = 0, 63 do
  SINES[i] = tobit(math.floor(math.abs(math.sin(i + 1)) * 2 ^ 32))
end

local function md5_step(i, b, c, d)
  if i < 16 then
    return bxor(d, band(b, bxor(c, d))), i
  elseif i < 32 then
    return bxor(c, band(d, bxor(b, c))), (5 * i + 1) % 16
  elseif i < 48 then
    return bxor(b, c, d), (3 * i + 5) % 16
  end
  return bxor(c, bor(b, bnot(d))), 7 * i % 16
end

function hash.md5(data)
  local text = padded(data, 64, 8, true)
  local a0, b0, c0, d0 = 0x67452301, tobit(0xEFCDAB89), tobit(0x98BADCFE), 0x10325476
  for at = 1, #text, 64 do
    local a, b, c, d = a0, b0, c0, d0
    for i = 0, 63 do
      local mixed, place = md5_step(i, b, c, d)
      local sum = tobit(a + mixed + SINES[i] + word_little(text, at + 4 * place))
      a, d, c = d, c, b
      b = tobit(b + rol(sum, TURNS[band(rshift(i, 2), 12) + i % 4 + 1]))
    end
    a0, b0, c0, d0 = tobit(a0 + a), tobit(b0 + b), tobit(c0 + c), tobit(d0 + d)
  end
  return little32(a0) .. little32(b0) .. little32(c0) .. little32(d0)
end

-- FIPS 180-4 6.1.
local function sha1_step(i, b, c, d)
  if i < 20 then
    return bxor(d, band(b, bxor(c, d))) + 0x5A827999
  elseif i < 40 then
    return bxor(b, c, d) + 0x6ED9EBA1
  elseif i < 60 then
    return bor(band(b, c), band(d, bor(b, c))) + 0x8F1BBCDC
  end
  return bxor(b, c, d) + 0xCA62C1D6
end

function hash.sha1(data)
  local text, words = padded(data, 64, 8), {}
  local a0, b0, c0, d0, e0 = 0x67452301, tobit(0xEFCDAB89), tobit(0x98BADCFE), 0x10325476, tobit(0xC3D2E1F0)
  for at = 1, #text, 64 do
    local a, b, c, d, e = a0, b0, c0, d0, e0
    for i = 0, 79 do
      words[i] = i < 16 and word_big(text, at + 4 * i)
        or rol(bxor(words[i - 3], words[i - 8], words[i - 14], words[i - 16]), 1)
      local sum = tobit(rol(a, 5) + sha1_step(i, b, c, d) + e + words[i])
      a, b, c, d, e = sum, a, rol(b, 30), c, d
    end
    a0, b0, c0, d0, e0 = tobit(a0 + a), tobit(b0 + b), tobit(c0 + c), tobit(d0 + d), tobit(e0 + e)
  end
  return big32(a0) .. big32(b0) .. big32(c0) .. big32(d0) .. big32(e0)
end

-- The first 64 bits of the fractions of the cube roots of the first 80 primes (FIPS 180-4 4.2.3); their upper halves are
-- the constants of SHA-256 (4.2.2).
local CUBES = {
  0x428A2F98D728AE22ULL, 0x7137449123EF65CDULL, 0xB5C0FBCFEC4D3B2FULL, 0xE9B5DBA58189DBBCULL, 0x3956C25BF348B538ULL,
  0x59F111F1B605D019ULL, 0x923F82A4AF194F9BULL, 0xAB1C5ED5DA6D8118ULL, 0xD807AA98A3030242ULL, 0x12835B0145706FBEULL,
  0x243185BE4EE4B28CULL, 0x550C7DC3D5FFB4E2ULL, 0x72BE5D74F27B896FULL, 0x80DEB1FE3B1696B1ULL, 0x9BDC06A725C71235ULL,
  0xC19BF174CF692694ULL, 0xE49B69C19EF14AD2ULL, 0xEFBE4786384F25E3ULL, 0x0FC19DC68B8CD5B5ULL, 0x240CA1CC77AC9C65ULL,
  0x2DE92C6F592B0275ULL, 0x4A7484AA6EA6E483ULL, 0x5CB0A9DCBD41FBD4ULL, 0x76F988DA831153B5ULL, 0x983E5152EE66DFABULL,
  0xA831C66D2DB43210ULL, 0xB00327C898FB213FULL, 0xBF597FC7BEEF0EE4ULL, 0xC6E00BF33DA88FC2ULL, 0xD5A79147930AA725ULL,
  0x06CA6351E003826FULL, 0x142929670A0E6E70ULL, 0x27B70A8546D22FFCULL, 0x2E1B21385C26C926ULL, 0x4D2C6DFC5AC42AEDULL,
  0x53380D139D95B3DFULL, 0x650A73548BAF63DEULL, 0x766A0ABB3C77B2A8ULL, 0x81C2C92E47EDAEE6ULL, 0x92722C851482353BULL,
  0xA2BFE8A14CF10364ULL, 0xA81A664BBC423001ULL, 0xC24B8B70D0F89791ULL, 0xC76C51A30654BE30ULL, 0xD192E819D6EF5218ULL,
  0xD69906245565A910ULL, 0xF40E35855771202AULL, 0x106AA07032BBD1B8ULL, 0x19A4C116B8D2D0C8ULL, 0x1E376C085141AB53ULL,
  0x2748774CDF8EEB99ULL, 0x34B0BCB5E19B48A8ULL, 0x391C0CB3C5C95A63ULL, 0x4ED8AA4AE3418ACBULL, 0x5B9CCA4F7763E373ULL,
  0x682E6FF3D6B2B8A3ULL, 0x748F82EE5DEFB2FCULL, 0x78A5636F43172F60ULL, 0x84C87814A1F0AB72ULL, 0x8CC702081A6439ECULL,
  0x90BEFFFA23631E28ULL, 0xA4506CEBDE82BDE9ULL, 0xBEF9A3F7B2C67915ULL, 0xC67178F2E372532BULL, 0xCA273ECEEA26619CULL,
  0xD186B8C721C0C207ULL, 0xEADA7DD6CDE0EB1EULL, 0xF57D4F7FEE6ED178ULL, 0x06F067AA72176FBAULL, 0x0A637DC5A2C898A6ULL,
  0x113F9804BEF90DAEULL, 0x1B710B35131C471BULL, 0x28DB77F523047D84ULL, 0x32CAAB7B40C72493ULL, 0x3C9EBE0A15C9BEBCULL,
  0x431D67C49C100D4CULL, 0x4CC5D4BECB3E42B6ULL, 0x597F299CFC657E2AULL, 0x5FCB6FAB3AD6FAECULL, 0x6C44198C4A475817ULL,
}
-- The same of square roots (5.3.3, 5.3.4, 5.3.5): the first eight for SHA-512 and SHA-256, the others for SHA-384.
local SQUARES = {
  0x6A09E667F3BCC908ULL, 0xBB67AE8584CAA73BULL, 0x3C6EF372FE94F82BULL, 0xA54FF53A5F1D36F1ULL, 0x510E527FADE682D1ULL,
  0x9B05688C2B3E6C1FULL, 0x1F83D9ABFB41BD6BULL, 0x5BE0CD19137E2179ULL, 0xCBBB9D5DC1059ED8ULL, 0x629A292A367CD507ULL,
  0x9159015A3070DD17ULL, 0x152FECD8F70E5939ULL, 0x67332667FFC00B31ULL, 0x8EB44A8768581511ULL, 0xDB0C2E0D64F98FA7ULL,
  0x47B5481DBEFA4FA4ULL,
}

local function upper(long)
  return tobit(tonumber(rshift(long, 32)))
end

local CUBES32, SQUARES32 = {}, {}
for i = 1, 64 do
  CUBES32[i] = upper(CUBES[i])
end
for i = 1, 8 do
  SQUARES32[i] = upper(SQUARES[i])
end

local function sha256_words(text, at, words)
  for i = 1, 16 do
    words[i] = word_big(text, at + 4 * i - 4)
  end
  for i = 17, 64 do
    local old, new = words[i - 15], words[i - 2]
    local first = bxor(ror(old, 7), ror(old, 18), rshift(old, 3))
    local second = bxor(ror(new, 17), ror(new, 19), rshift(new, 10))
    words[i] = tobit(words[i - 16] + first + words[i - 7] + second)
  end
end

local function sha256_block(words, state)
  local a, b, c, d, e, f, g, h = unpack(state)
  for i = 1, 64 do
    local first = tobit(h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(g, band(e, bxor(f, g))) + CUBES32[i] + words[i])
    local second = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bor(band(a, b), band(c, bor(a, b)))
    h, g, f, e, d, c, b, a = g, f, e, tobit(d + first), c, b, a, tobit(first + second)
  end
  for i, value in ipairs({ a, b, c, d, e, f, g, h }) do
    state[i] = tobit(state[i] + value)
  end
end

function hash.sha256(data)
  local text, words, state = padded(data, 64, 8), {}, { unpack(SQUARES32) }
  for at = 1, #text, 64 do
    sha256_words(text, at, words)
    sha256_block(words, state)
  end
  local parts = {}
  for i = 1, 8 do
    parts[i] = big32(state[i])
  end
  return concat(parts)
end

-- Arrays of 64-bit words: in a table each word would be an object of its own.
local longs = ffi.typeof("uint64_t[?]")
local CUBES64 = longs(80, CUBES)

local function sha512_words(text, at, words)
  for i = 0, 15 do
    words[i] = long_big(text, at + 8 * i)
  end
  for i = 16, 79 do
    local old, new = words[i - 15], words[i - 2]
    local first = bxor(ror(old, 1), ror(old, 8), rshift(old, 7))
    local second = bxor(ror(new, 19), ror(new, 61), rshift(new, 6))
    words[i] = words[i - 16] + first + words[i - 7] + second
  end
end

-- The eight working words stay where they are; what turns is which of them is `a`.
local function sha512_block(words, state, work)
  for i = 0, 7 do
    work[i] = state[i]
  end
  for i = 0, 79 do
    local a, b, c = work[band(-i, 7)], work[band(1 - i, 7)], work[band(2 - i, 7)]
    local e, f, g = work[band(4 - i, 7)], work[band(5 - i, 7)], work[band(6 - i, 7)]
    local d, h = band(3 - i, 7), band(7 - i, 7)
    local first = work[h] + bxor(ror(e, 14), ror(e, 18), ror(e, 41)) + bxor(g, band(e, bxor(f, g))) + CUBES64[i] + words[i]
    work[d] = work[d] + first
    work[h] = first + bxor(ror(a, 28), ror(a, 34), ror(a, 39)) + bor(band(a, b), band(c, bor(a, b)))
  end
  for i = 0, 7 do
    state[i] = state[i] + work[i]
  end
end

-- SHA-512 and those that cut it short, `count` words of it.
local function sha512(data, from, count)
  local text, words, state, work = padded(data, 128, 16), longs(80), longs(8), longs(8)
  for i = 0, 7 do
    state[i] = SQUARES[from + i + 1]
  end
  for at = 1, #text, 128 do
    sha512_words(text, at, words)
    sha512_block(words, state, work)
  end
  local parts = {}
  for i = 1, count do
    parts[i] = big64(state[i - 1])
  end
  return concat(parts)
end

function hash.sha384(data)
  return sha512(data, 8, 6)
end

function hash.sha512(data)
  return sha512(data, 0, 8)
end

-- The reversed polynomials of ISO 3309.
local CRC32, CRC64 = {}, {}
for value = 0, 255 do
  local short, long = value, as64(value)
  for _ = 1, 8 do
    short = band(short, 1) == 1 and bxor(rshift(short, 1), 0xEDB88320) or rshift(short, 1)
    long = band(long, 1ULL) == 1 and bxor(rshift(long, 1), 0xD800000000000000ULL) or rshift(long, 1)
  end
  CRC32[value], CRC64[value] = short, long
end

function hash.crc32(data)
  local crc = -1
  for at = 1, #data do
    crc = bxor(CRC32[band(bxor(crc, byte(data, at)), 255)], rshift(crc, 8))
  end
  return big32(bnot(crc))
end

function hash.crc64(data)
  local crc = -1ULL
  for at = 1, #data do
    crc = bxor(CRC64[tonumber(band(bxor(crc, as64(byte(data, at))), 255ULL))], rshift(crc, 8))
  end
  return big64(bnot(crc))
end

-- The primes of XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).
local P1, P2, P3 = 0x9E3779B185EBCA87ULL, 0xC2B2AE3D27D4EB4FULL, 0x165667B19E3779F9ULL
local P4, P5 = 0x85EBCA77C2B2AE63ULL, 0x27D4EB2F165667C5ULL

local function round(lane, word)
  return rol(lane + word * P2, 31) * P1
end

local function xxhash64_lanes(data)
  local one, two, three, four = P1 + P2, P2, 0ULL, -P1
  for at = 1, #data - 31, 32 do
    one = round(one, long_little(data, at))
    two = round(two, long_little(data, at + 8))
    three = round(three, long_little(data, at + 16))
    four = round(four, long_little(data, at + 24))
  end
  local found = rol(one, 1) + rol(two, 7) + rol(three, 12) + rol(four, 18)
  for _, lane in ipairs({ one, two, three, four }) do
    found = bxor(found, round(0ULL, lane)) * P1 + P4
  end
  return found
end

function hash.xxhash64(data)
  local found = (#data >= 32 and xxhash64_lanes(data) or P5) + #data
  local at = #data - #data % 32 + 1
  while at + 7 <= #data do
    found = rol(bxor(found, round(0ULL, long_little(data, at))), 27) * P1 + P4
    at = at + 8
  end
  if at + 3 <= #data then
    found = rol(bxor(found, as64(word_little(data, at)) * P1), 23) * P2 + P3
    at = at + 4
  end
  for place = at, #data do
    found = rol(bxor(found, byte(data, place) * P5), 11) * P1
  end
  found = bxor(found, rshift(found, 33)) * P2
  found = bxor(found, rshift(found, 29)) * P3
  return big64(bxor(found, rshift(found, 32)))
end

local BLOCK = { md5 = 64, sha1 = 64, sha256 = 64, sha384 = 128, sha512 = 128 }

local function masked(key, mask)
  return (key:gsub(".", function(letter)
    return char(bxor(byte(letter), mask))
  end))
end

--- RFC 2104; `name` is one of md5, sha1, sha256, sha384, sha512.
function hash.hmac(name, key, data)
  local digest, block = hash[name], BLOCK[name]
  if #key > block then
    key = digest(key)
  end
  key = key .. rep("\0", block - #key)
  return digest(masked(key, 0x5C) .. digest(masked(key, 0x36) .. data))
end

--- Whether two texts are equal, in a time that says nothing about where they differ.
function P.same(one, other)
  if #one ~= #other then
    return false
  end
  local difference = 0
  for at = 1, #one do
    difference = bor(difference, bxor(byte(one, at), byte(other, at)))
  end
  return difference == 0
end
