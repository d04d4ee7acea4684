package voicecal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"sidetone/voiceprint"
)

// Cache keeps raw embeddings in a file, so that another training of the same
// recordings begins where this one ended. It is for recordings that are no secret:
// embeddings are not encrypted. A nil Cache keeps nothing.
//
// The file is the model's ID and a newline, then for each embedding the length of its
// key (uint16), the key, and the numbers (float32), little-endian. What a broken-off
// run left incomplete at the end is written anew.
type Cache struct {
	mu    sync.Mutex
	f     *os.File
	model voiceprint.Model
	known map[string]voiceprint.Embedding
}

// OpenCache opens or makes a cache of a model's embeddings.
func OpenCache(path string, m voiceprint.Model) (*Cache, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	c := &Cache{f: f, model: m, known: map[string]voiceprint.Embedding{}}
	if err := c.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return c, nil
}

func (c *Cache) load() error {
	b, err := io.ReadAll(c.f)
	if err != nil {
		return err
	}
	head := c.model.ID + "\n"
	if len(b) == 0 {
		_, err = c.f.WriteString(head)
		return err
	}
	if !bytes.HasPrefix(b, []byte(head)) {
		return fmt.Errorf("embeddings of another model than %s: remove the file, or name another", c.model.ID)
	}
	at := len(head)
	for {
		rest := b[at:]
		if len(rest) < 2 {
			break
		}
		n := int(binary.LittleEndian.Uint16(rest))
		size := 2 + n + 4*c.model.Dim
		if len(rest) < size {
			break
		}
		e := make(voiceprint.Embedding, c.model.Dim)
		for i := range e {
			e[i] = math.Float32frombits(binary.LittleEndian.Uint32(rest[2+n+4*i:]))
		}
		c.known[string(rest[2:2+n])] = e
		at += size
	}
	if err = c.f.Truncate(int64(at)); err != nil {
		return err
	}
	_, err = c.f.Seek(int64(at), io.SeekStart)
	return err
}

// Get is the embedding that was kept under a key.
func (c *Cache) Get(key string) (voiceprint.Embedding, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[key]
	return e, ok
}

// Put keeps an embedding.
func (c *Cache) Put(key string, e voiceprint.Embedding) error {
	if c == nil {
		return nil
	}
	if len(key) > math.MaxUint16 || len(e) != c.model.Dim {
		return fmt.Errorf("an embedding of %d dimensions under a key of %d bytes cannot be kept", len(e), len(key))
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(key)))
	b = append(b, key...)
	for _, x := range e {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[key] = e
	_, err := c.f.Write(b)
	return err
}

// Close closes the file.
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	return c.f.Close()
}
