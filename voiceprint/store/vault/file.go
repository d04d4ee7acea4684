package vault

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	keyFile = "voice.key"
	keySize = 32
	heading = "# Sidetone's key of voices. Without it no template can be used, and with it, the\n" +
		"# other keys and the database all can. Copy it to every node of one database.\n"
)

// key is what the file holds:
//
//	pseudonym HEX
//	transform 1 HEX
//	transform 2 HEX
//
// with 32 bytes each, and lines of comment that begin with #.
type key struct {
	name  []byte
	turns [][]byte
}

func path(dir string) string { return filepath.Join(dir, keyFile) }

// readKey reads the file, or makes it where it may.
func readKey(dir string, make bool) (key, error) {
	file := path(dir)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return key{}, fmt.Errorf("%w: there is none at %s, but templates made with it: copy it from another node, or from the backup of the keys", ErrKey, file)
		}
		return key{name: fresh()}.extend(dir)
	}
	if err != nil {
		return key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return key{}, fmt.Errorf("%w: %s is open to others (mode %o): chmod 600 it", ErrKey, file, info.Mode().Perm())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k, err := parseKey(b)
	if err != nil {
		return key{}, fmt.Errorf("%w: %s: %w", ErrKey, file, err)
	}
	return k, nil
}

func fresh() []byte {
	b := make([]byte, keySize)
	rand.Read(b)
	return b
}

func parseKey(b []byte) (key, error) {
	var k key
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		secret, err := hex.DecodeString(words[len(words)-1])
		if err != nil || len(secret) != keySize {
			// What stands there may be most of a secret: it is not repeated.
			return key{}, fmt.Errorf("line %d does not end with %d bytes in hexadecimal", n, keySize)
		}
		switch {
		case len(words) == 2 && words[0] == kindName && k.name == nil:
			k.name = secret
		case len(words) == 3 && words[0] == kindTurn && words[1] == strconv.Itoa(len(k.turns)+1):
			k.turns = append(k.turns, secret)
		default:
			return key{}, fmt.Errorf("line %d is neither %q once nor the next %q", n, kindName, kindTurn)
		}
	}
	if err := lines.Err(); err != nil {
		return key{}, err
	}
	if k.name == nil || len(k.turns) == 0 {
		return key{}, fmt.Errorf("it lacks the key of %ss or of %ss", kindName, kindTurn)
	}
	return k, nil
}

// extend writes the file with a further key for transforms: whole or not at all.
func (k key) extend(dir string) (key, error) {
	k.turns = append(k.turns[:len(k.turns):len(k.turns)], fresh())
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s %x\n", heading, kindName, k.name)
	for i, secret := range k.turns {
		fmt.Fprintf(&b, "%s %d %x\n", kindTurn, i+1, secret)
	}
	if err := write(dir, b.String()); err != nil {
		return key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return k, nil
}

func write(dir, text string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// It is made with mode 0600.
	f, err := os.CreateTemp(dir, keyFile+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path(dir))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	// The name must survive a loss of power, too: without the key all is lost.
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// check sees that the database was made with these keys, and says up to which
// generation. The file may have one more that is not in use yet.
func (k key) check(dir string, proofs map[slot]string) (int, error) {
	if proofs[slot{kindName, 0}] != proof(kindName, 0, k.name) {
		return 0, fmt.Errorf("%w in %s is not the one that the database was made with: copy it from the node that made it, or from the backup of the keys", ErrKey, path(dir))
	}
	used := 0
	for s := range proofs {
		if s.kind == kindTurn {
			used = max(used, s.generation)
		}
	}
	for g := 1; g <= used; g++ {
		if g > len(k.turns) {
			return 0, fmt.Errorf("%w in %s has %d generations, the database uses %d: copy the file from the node that made the newest", ErrKey, path(dir), len(k.turns), used)
		}
		if proofs[slot{kindTurn, g}] != proof(kindTurn, g, k.turns[g-1]) {
			return 0, fmt.Errorf("%w in %s has another generation %d than the database: copy the file from the node that made it", ErrKey, path(dir), g)
		}
	}
	return used, nil
}
