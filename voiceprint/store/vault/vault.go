// Package vault keeps what voices are from whoever has only the database: it makes
// pseudonyms of persons, turns embeddings by a key, and seals.
//
// Its keys lie in the file voice.key beside the keyring's, never in the database,
// which has proofs by which a wrong key is seen before it does harm. All nodes that
// share a database share copies of that file. Who has it, the keyring and the
// database has everything: folder and database must be stored, and backed up, apart.
package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store/turn"
)

// ErrKey is in the chain of errors about a key that is missing, cannot be used or
// is not the one that the database was made with.
var ErrKey = errors.New("the voices' key")

// Config says where keys lie.
type Config struct {
	// Dir is the folder of voice.key, which is made with the first use of a database.
	Dir  string
	Keys *seal.Keyring
}

// Vault holds the keys. It is safe for concurrent use.
type Vault struct {
	db  *store.DB
	cfg Config

	mu  sync.Mutex
	key key
	// used is the newest generation that the database knows: with it all is turned
	// that is sealed.
	used int
}

// Open reads the keys, and makes them where the database has seen none. Keys that
// do not belong to the database are ErrKey.
func Open(ctx context.Context, db *store.DB, cfg Config) (*Vault, error) {
	if db == nil || cfg.Dir == "" || cfg.Keys == nil {
		return nil, errors.New("vault: a database, a keyring and a folder for the key are needed")
	}
	v := &Vault{db: db, cfg: cfg}
	err := db.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.Lock(ctx, "voice keys"); err != nil {
			return err
		}
		proofs, err := readProofs(ctx, tx)
		if err != nil {
			return err
		}
		if v.key, err = readKey(cfg.Dir, len(proofs) == 0); err != nil {
			return err
		}
		if len(proofs) == 0 {
			if err = addProof(ctx, tx, kindName, 0, v.key.name); err != nil {
				return err
			}
			v.used = len(v.key.turns)
			for i, k := range v.key.turns {
				if err = addProof(ctx, tx, kindTurn, i+1, k); err != nil {
					return err
				}
			}
			return nil
		}
		v.used, err = v.key.check(cfg.Dir, proofs)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return v, nil
}

// InUse says whether a database was made with a key of voices.
func InUse(ctx context.Context, db store.Querier) (bool, error) {
	proofs, err := readProofs(ctx, db)
	return len(proofs) > 0, err
}

// HasKey says whether a folder has a key of voices, of whatever database.
func HasKey(dir string) bool {
	_, err := os.Stat(path(dir))
	return err == nil
}

// Pseudonym is what a person is called in the database.
func (v *Vault) Pseudonym(subject string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := hmac.New(sha256.New, v.key.name)
	m.Write([]byte("sidetone voice person 1"))
	m.Write([]byte(subject))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// Sealed is something as the database holds it.
type Sealed struct {
	// Text is the sealed file in hexadecimal, Key the id of the keyring's key that it
	// takes, Turn the generation of the transform's key; 0 is none.
	Text, Key string
	Turn      int
}

// Seal seals bytes for a purpose under a name, which must tell nothing.
func (v *Vault) Seal(plain []byte, purpose, name string) (Sealed, error) {
	b, err := v.cfg.Keys.Seal(plain, purpose, name)
	if err != nil {
		return Sealed{}, err
	}
	id, err := seal.KeyOf(strings.NewReader(string(b)))
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{Text: hex.EncodeToString(b), Key: id}, nil
}

// Open opens what Seal sealed.
func (v *Vault) Open(text, purpose, name string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("vault: %s %s: %w", purpose, name, seal.ErrBroken)
	}
	return v.cfg.Keys.Open(b, purpose, name)
}

// Current is the id of the key that seals now.
func (v *Vault) Current() (string, error) {
	keys, err := v.cfg.Keys.Keys()
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "", fmt.Errorf("vault: %w", seal.ErrNoKey)
	}
	return keys[len(keys)-1].ID, nil
}

// Generation is the generation of the transform's key that is used for what is
// sealed now. Another node may have taken a new one into use.
func (v *Vault) Generation(ctx context.Context) (int, error) {
	var newest int
	if err := v.db.QueryRow(ctx, `SELECT MAX(generation) FROM voice_keys WHERE kind = ?`, kindTurn).Scan(&newest); err != nil {
		return 0, fmt.Errorf("vault: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if newest == v.used {
		return v.used, nil
	}
	return newest, v.reload(ctx)
}

// reload reads the file again. The caller holds mu.
func (v *Vault) reload(ctx context.Context) error {
	proofs, err := readProofs(ctx, v.db)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	k, err := readKey(v.cfg.Dir, false)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	used, err := k.check(v.cfg.Dir, proofs)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	v.key, v.used = k, used
	return nil
}

// Transform is the one of that name and generation.
func (v *Vault) Transform(ctx context.Context, generation int, name string, dim int) (*turn.Turn, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if generation > v.used {
		// What the file has beyond what is in use was not compared with the database.
		if err := v.reload(ctx); err != nil {
			return nil, err
		}
	}
	if generation < 1 || generation > v.used {
		return nil, fmt.Errorf("vault: %w: generation %d is not in use", ErrKey, generation)
	}
	return turn.New(v.key.turns[generation-1], name, dim)
}

// Voice is an embedding and what is known of it that must not lie in clear.
type Voice struct {
	Embedding voiceprint.Embedding
	Quality   voiceprint.Quality
	// Note is the source of a template, or why a voice is on the watch list.
	Note string
}

// SealVoice turns an embedding by the transform of that name and seals it under the
// id.
func (v *Vault) SealVoice(ctx context.Context, voice Voice, purpose, id, transform string) (Sealed, error) {
	generation, err := v.Generation(ctx)
	if err != nil {
		return Sealed{}, err
	}
	t, err := v.Transform(ctx, generation, transform, len(voice.Embedding))
	if err != nil {
		return Sealed{}, err
	}
	voice.Embedding = t.Apply(voice.Embedding)
	b, err := marshal(&voice, generation)
	if err != nil {
		return Sealed{}, err
	}
	s, err := v.Seal(b, purpose, id)
	s.Turn = generation
	return s, err
}

// OpenTurned opens what SealVoice sealed and leaves it turned, by the transform of
// the generation that is returned.
func (v *Vault) OpenTurned(text, purpose, id string) (Voice, int, error) {
	b, err := v.Open(text, purpose, id)
	if err != nil {
		return Voice{}, 0, err
	}
	voice, generation, err := unmarshal(b)
	if err != nil {
		return Voice{}, 0, fmt.Errorf("vault: %s %s: %w", purpose, id, err)
	}
	return voice, generation, nil
}

// OpenVoice opens what SealVoice sealed, and turns it back.
func (v *Vault) OpenVoice(ctx context.Context, text, purpose, id, transform string) (Voice, error) {
	voice, generation, err := v.OpenTurned(text, purpose, id)
	if err != nil {
		return Voice{}, err
	}
	t, err := v.Transform(ctx, generation, transform, len(voice.Embedding))
	if err != nil {
		return Voice{}, err
	}
	voice.Embedding = t.Undo(voice.Embedding)
	return voice, nil
}

// NewGeneration adds a new key for transforms to the file, and says which
// generation it is. It is not used before Advance: in between, the file is copied to
// all nodes.
func (v *Vault) NewGeneration(ctx context.Context) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.reload(ctx); err != nil {
		return 0, err
	}
	// Of two programs that extend one file, one would lose the other's key.
	err := v.db.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.Lock(ctx, "voice keys"); err != nil {
			return err
		}
		k, err := readKey(v.cfg.Dir, false)
		if err != nil {
			return err
		}
		if k, err = k.extend(v.cfg.Dir); err == nil {
			v.key = k
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("vault: %w", err)
	}
	return len(v.key.turns), nil
}

// Advance takes the newest generation of the file into use, on all nodes.
func (v *Vault) Advance(ctx context.Context) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.reload(ctx); err != nil {
		return 0, err
	}
	newest := len(v.key.turns)
	err := v.db.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.Lock(ctx, "voice keys"); err != nil {
			return err
		}
		proofs, err := readProofs(ctx, tx)
		if err != nil {
			return err
		}
		used, err := v.key.check(v.cfg.Dir, proofs)
		if err != nil {
			return err
		}
		for g := used + 1; g <= newest; g++ {
			if err = addProof(ctx, tx, kindTurn, g, v.key.turns[g-1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("vault: %w", err)
	}
	v.used = newest
	return newest, nil
}

// The kinds of keys in the database.
const (
	kindName = "pseudonym"
	kindTurn = "transform"
)

// proof is by what a key is recognised.
func proof(kind string, generation int, secret []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write(binary.BigEndian.AppendUint32([]byte("sidetone voice key 1 "+kind), uint32(generation)))
	return hex.EncodeToString(m.Sum(nil)[:8])
}

type slot struct {
	kind       string
	generation int
}

func readProofs(ctx context.Context, q store.Querier) (map[slot]string, error) {
	rows, err := q.Query(ctx, `SELECT kind, generation, proof FROM voice_keys`)
	if err != nil {
		return nil, err
	}
	out := map[slot]string{}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var s slot
		var p string
		serr := rows.Scan(&s.kind, &s.generation, &p)
		out[s] = p
		return serr
	})
	return out, err
}

func addProof(ctx context.Context, tx *store.Tx, kind string, generation int, secret []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO voice_keys (kind, generation, proof) VALUES (?, ?, ?)`, kind, generation, proof(kind, generation, secret))
	return err
}
