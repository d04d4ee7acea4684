// Package seal encrypts at rest what calls leave behind: recordings,
// voiceprints, small secrets.
//
// What is sealed is a file of the age format (age-encryption.org/v1). Each has a
// random key of its own, which lies in its header, wrapped for one key of a
// Keyring; without that key it is noise, and without its header, too. With the
// key's file anybody can open it by the age tool as well:
//
//	age -d -i keys/ID.age-key call.flac.age > call.flac
//
// The header also says which key it takes, what the content is for and whose it
// is (purpose and name), with a tag that only a holder of the key can make:
//
//	-> sidetone KEY-ID PURPOSE NAME
//	base64(HMAC-SHA256(tag key, purpose, name, file key))
//
// So a file that was put in another's place does not open, nor does one that
// somebody made who knows no more than the public half of a key. The age format
// ignores stanzas that it does not know, and its MAC covers them. Purpose and name
// stand there in clear: a name must tell nothing of a person.
//
// A Log is for what must survive being cut off: each of its records is a sealed
// file of its own, bound to its place, so that all complete ones can be read
// whatever happened to the last.
package seal

import (
	"errors"
	"fmt"
	"io/fs"
)

// Errors that callers tell apart.
var (
	// ErrNoKey: it was sealed with a key that the keyring lacks.
	ErrNoKey = errors.New("the keyring lacks the key")
	// ErrOther: it is intact, but for another purpose or of another name.
	ErrOther = errors.New("it is not what it is taken for")
	// ErrBroken: it was changed, cut off, or never sealed.
	ErrBroken = errors.New("it is damaged or was tampered with")
)

// maxLabel bounds a purpose and a name, in bytes.
const maxLabel = 200

// checkLabel keeps purposes and names fit for a header: visible ASCII.
func checkLabel(what, s string) error {
	if s == "" || len(s) > maxLabel {
		return fmt.Errorf("seal: a %s of %d bytes; 1 to %d are needed", what, len(s), maxLabel)
	}
	for _, b := range []byte(s) {
		if b <= ' ' || b > '~' {
			return fmt.Errorf("seal: the %s %q has a byte that is not visible ASCII", what, s)
		}
	}
	return nil
}

// opening gives an error of opening its context. What the library says of
// content is damage; what reading a file says is not.
func opening(purpose, name string, err error) error {
	var file *fs.PathError
	switch {
	case errors.Is(err, ErrNoKey), errors.Is(err, ErrOther), errors.Is(err, ErrBroken), errors.As(err, &file):
		return fmt.Errorf("seal: opening %s %s: %w", purpose, name, err)
	default:
		return fmt.Errorf("seal: opening %s %s: %w: %w", purpose, name, ErrBroken, err)
	}
}
