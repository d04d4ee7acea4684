// Package password turns passwords into argon2id hashes and compares them
// (RFC 9106), in the PHC string format: $argon2id$v=19$m=47104,t=1,p=1$salt$hash.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Bounds of a password, in characters and in bytes.
const (
	MinLength = 10
	MaxBytes  = 256
)

const (
	saltBytes = 16
	hashBytes = 32
)

// ErrWeak is wrapped by errors about passwords that may not be chosen.
var ErrWeak = errors.New("this password cannot be used")

// Params are argon2id's costs.
type Params struct {
	// MemoryKiB is the memory of one computation, in KiB.
	MemoryKiB uint32
	// Time is the number of passes, Threads the lanes.
	Time    uint32
	Threads uint8
}

// Recommended are the first costs of OWASP's password storage cheat sheet: 46 MiB,
// one pass, one lane. Those of RFC 9106, section 4 (64 MiB, three passes), take
// four times the processor, which here is the running calls'.
func Recommended() Params { return Params{MemoryKiB: 46 << 10, Time: 1, Threads: 1} }

// check bounds what is computed, whoever wrote the hash.
func (p Params) check() error {
	if p.Time < 1 || p.Time > 16 || p.Threads < 1 || p.Threads > 16 || p.MemoryKiB < 8*uint32(p.Threads) || p.MemoryKiB > 1<<20 {
		return fmt.Errorf("password: costs m=%d,t=%d,p=%d are out of bounds (m up to 1048576 KiB and at least 8 a lane, t and p 1 to 16)", p.MemoryKiB, p.Time, p.Threads)
	}
	return nil
}

// Hash is a password's hash with what it was made with.
type Hash struct {
	Params Params
	// Salt has 8 to 64 bytes, Sum 16 to 64.
	Salt, Sum []byte
}

// String is the hash in PHC format.
func (h Hash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.Params.MemoryKiB, h.Params.Time, h.Params.Threads,
		b64.EncodeToString(h.Salt), b64.EncodeToString(h.Sum))
}

// Parse reads a hash in PHC format. Only argon2id of version 19 is read, and
// only as String writes it.
func Parse(s string) (Hash, error) {
	bad := func(what string) (Hash, error) {
		return Hash{}, fmt.Errorf("password: the stored hash %s; set the password anew", what)
	}
	if len(s) > 512 {
		return bad("is too long")
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return bad("is not of argon2id")
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return bad("is of another version of argon2id")
	}
	var h Hash
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return bad("has no costs m, t and p")
	}
	for i, c := range []struct {
		key  string
		bits int
		to   func(uint64)
	}{
		{"m=", 32, func(v uint64) { h.Params.MemoryKiB = uint32(v) }},
		{"t=", 32, func(v uint64) { h.Params.Time = uint32(v) }},
		{"p=", 8, func(v uint64) { h.Params.Threads = uint8(v) }},
	} {
		text, ok := strings.CutPrefix(costs[i], c.key)
		v, err := strconv.ParseUint(text, 10, c.bits)
		if !ok || err != nil {
			return bad("has no cost " + c.key)
		}
		c.to(v)
	}
	if err := h.Params.check(); err != nil {
		return Hash{}, err
	}
	var err1, err2 error
	b64 := base64.RawStdEncoding.Strict()
	h.Salt, err1 = b64.DecodeString(parts[4])
	h.Sum, err2 = b64.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.Salt) < 8 || len(h.Salt) > 64 || len(h.Sum) < 16 || len(h.Sum) > 64 {
		return bad("has no salt or sum")
	}
	if h.String() != s {
		return bad("is not written as it should be")
	}
	return h, nil
}

// Config is what a Hasher needs.
type Config struct {
	// Params are the costs of new hashes; zero: Recommended.
	Params Params
	// Parallel bounds the computations at the same time, 2: each takes
	// Params.MemoryKiB and a core from the calls that run.
	Parallel int
}

// Hasher makes and compares hashes. It is safe for concurrent use.
type Hasher struct {
	params Params
	slots  chan struct{}
	// decoy is compared with where there is no account.
	decoy Hash
}

// New makes a Hasher.
func New(cfg Config) (*Hasher, error) {
	if cfg.Params == (Params{}) {
		cfg.Params = Recommended()
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 2
	}
	if err := cfg.Params.check(); err != nil {
		return nil, err
	}
	if cfg.Parallel < 0 {
		return nil, fmt.Errorf("password: %d computations at once; at least 1 is needed", cfg.Parallel)
	}
	h := &Hasher{params: cfg.Params, slots: make(chan struct{}, cfg.Parallel)}
	h.decoy = Hash{Params: cfg.Params, Salt: make([]byte, saltBytes), Sum: make([]byte, hashBytes)}
	for _, b := range [][]byte{h.decoy.Salt, h.decoy.Sum} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
	}
	return h, nil
}

// Check says whether a password may be chosen; its error wraps ErrWeak and
// tells why not.
func Check(name, password string) error {
	switch {
	case len(password) > MaxBytes:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrWeak, MaxBytes)
	case !utf8.ValidString(password):
		return fmt.Errorf("%w: it is no valid text", ErrWeak)
	case utf8.RuneCountInString(password) < MinLength:
		return fmt.Errorf("%w: it is shorter than %d characters; a few unrelated words make a good one", ErrWeak, MinLength)
	case strings.EqualFold(password, name), strings.Count(password, password[:1]) == len(password):
		return fmt.Errorf("%w: it is the first that is tried", ErrWeak)
	}
	return nil
}

// Generate makes a password of 128 random bits.
func Generate() string { return rand.Text() }

// Make hashes a password with a new salt. It waits for a free place, or for ctx.
func (h *Hasher) Make(ctx context.Context, password string) (Hash, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return Hash{}, fmt.Errorf("password: %w", err)
	}
	sum, err := h.compute(ctx, password, Hash{Params: h.params, Salt: salt, Sum: make([]byte, hashBytes)})
	return Hash{Params: h.params, Salt: salt, Sum: sum}, err
}

// Matches says whether the password is that of the hash. A nil hash, of an
// account that there is not, takes as long and never matches. It waits for a
// free place, or for ctx.
func (h *Hasher) Matches(ctx context.Context, password string, with *Hash) (bool, error) {
	known := with != nil
	if !known {
		with = &h.decoy
	}
	sum, err := h.compute(ctx, password, *with)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, with.Sum) == 1 && known, nil
}

// Outdated says that a hash was made with other costs than new ones are.
func (h *Hasher) Outdated(old Hash) bool { return old.Params != h.params || len(old.Sum) != hashBytes }

func (h *Hasher) compute(ctx context.Context, password string, like Hash) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("password: waiting for a place to compute: %w", ctx.Err())
	}
	defer func() { <-h.slots }()
	p := like.Params
	return argon2.IDKey([]byte(password[:min(len(password), MaxBytes+1)]), like.Salt, p.Time, p.MemoryKiB, p.Threads, uint32(len(like.Sum))), nil
}
