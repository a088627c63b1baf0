package sandbox

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// mix is the finalizer of SplitMix64: cheap, and good enough for data that
// only has to look arbitrary.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// mixed folds several numbers into one.
func mixed(seed uint64, more ...uint64) uint64 {
	for _, m := range more {
		seed = mix(seed ^ mix(m))
	}
	return mix(seed)
}

func hashText(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// shortID writes a number as the short base-62 id Tally gives its objects.
func shortID(x uint64, length int) string {
	b := make([]byte, length)
	for i := range b {
		b[i] = base62[x%62]
		x /= 62
	}
	return string(b)
}

func uuidOf(x uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], mix(x))
	binary.BigEndian.PutUint64(b[8:], mix(x+1))
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
