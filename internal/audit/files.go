package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sidetone/internal/store"
)

const (
	keyFile    = "audit.key"
	anchorFile = "audit.anchor"
	keySize    = 32
)

// readKey reads the key, or makes it where it may.
func readKey(dir string, make bool) ([]byte, error) {
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil, fmt.Errorf("audit: %w: there is none at %s, but a log made with it: copy it from the node that began the log, or from the backup", ErrKey, path)
		}
		if err = makeKey(dir, path); err != nil {
			return nil, err
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w: %w", ErrKey, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("audit: %w: %s is open to others (mode %o): chmod 600 it", ErrKey, path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("audit: %w: %w", ErrKey, err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("audit: %w: %s does not hold %d bytes in hexadecimal", ErrKey, path, keySize)
	}
	return key, nil
}

// makeKey leaves a key that somebody else has made meanwhile.
func makeKey(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("audit: %w: %w", ErrKey, err)
	}
	key := make([]byte, keySize)
	rand.Read(key)
	temp, err := writeTemp(dir, keyFile, []byte(hex.EncodeToString(key)+"\n"), true)
	if err != nil {
		return fmt.Errorf("audit: %w: %w", ErrKey, err)
	}
	err = os.Link(temp, path)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err = errors.Join(err, os.Remove(temp)); err != nil {
		return fmt.Errorf("audit: %w: %w", ErrKey, err)
	}
	return nil
}

// writeTemp writes a file of mode 0600 beside the one that it is to become.
func writeTemp(dir, name string, b []byte, sync bool) (string, error) {
	f, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func fingerprint(key []byte) string {
	sum := sha256.Sum256(append([]byte("sidetone audit key 1"), key...))
	return hex.EncodeToString(sum[:8])
}

// Anchor is an entry that is known to be in the log.
type Anchor struct {
	Seq  uint64    `json:"seq"`
	Hash string    `json:"hash,omitempty"`
	At   time.Time `json:"at"`
}

func readAnchor(dir string) (Anchor, error) {
	b, err := os.ReadFile(filepath.Join(dir, anchorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Anchor{}, nil
	}
	var a Anchor
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return Anchor{}, fmt.Errorf("audit: the anchor: %s: %w", filepath.Join(dir, anchorFile), err)
	}
	return a, nil
}

// anchor writes down the last entry, unless the log does not have the one written
// down before: then that one stays, as the proof. With anyhow it does not look.
func (l *Log) anchor(ctx context.Context, anyhow bool) error {
	old, err := readAnchor(l.cfg.Dir)
	if err != nil {
		return err
	}
	now := Anchor{At: l.cfg.Now().UTC()}
	var last int64
	var there sql.NullString
	if err = l.db.QueryRow(ctx, `SELECT seq, hash, (SELECT hash FROM audit WHERE seq = ?) FROM audit ORDER BY seq DESC LIMIT 1`, int64(old.Seq)).
		Scan(&last, &now.Hash, &there); err != nil {
		return fmt.Errorf("audit: the anchor: %w", err)
	}
	now.Seq = uint64(last)
	if !anyhow && old.Seq > 0 && there.String != old.Hash {
		if !l.breached {
			l.breached = true
			l.cfg.Log.Error("the audit log was cut or changed; see `sidetone audit verify`", "anchored", old.Seq, "hash", old.Hash, "last", now.Seq)
		}
		return nil
	}
	b, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("audit: the anchor: %w", err)
	}
	temp, err := writeTemp(l.cfg.Dir, anchorFile, append(b, '\n'), false)
	if err == nil {
		err = os.Rename(temp, filepath.Join(l.cfg.Dir, anchorFile))
	}
	if err != nil {
		return fmt.Errorf("audit: the anchor: %w", err)
	}
	if now.Seq >= l.logged.Seq+logEntries || now.At.Sub(l.logged.At) >= logEvery {
		l.logged = now
		l.cfg.Log.Info("audit log anchored", "seq", now.Seq, "hash", now.Hash)
	}
	return nil
}

// Accepted is the action of Accept's entry.
const Accepted = "audit.accepted"

// Accept takes the log as it is for the one that is to be continued, after a
// backup was restored: an entry says who accepted which breach, and why. Entries
// that were changed are not accepted.
func (l *Log) Accept(ctx context.Context, actor, reason string) error {
	report, err := l.Verify(ctx)
	if err != nil {
		return err
	}
	if report.Broken == nil {
		return errors.New("audit: there is no breach to accept")
	}
	if !report.Broken.Cut {
		return fmt.Errorf("audit: entry %d: %s: that is no backup's doing and cannot be accepted", report.Broken.Seq, report.Broken.Reason)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := Entry{Actor: actor, Action: Accepted, Detail: map[string]string{
		"reason": reason, "breach": fmt.Sprintf("entry %d: %s", report.Broken.Seq, report.Broken.Reason),
		"anchored": fmt.Sprintf("%d %s", report.Anchor.Seq, report.Anchor.Hash),
	}}
	err = l.db.Tx(ctx, func(tx *store.Tx) error {
		if lerr := tx.Lock(ctx, "audit"); lerr != nil {
			return lerr
		}
		return l.add(ctx, tx, &e)
	})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	l.breached = false
	return l.anchor(ctx, true)
}
