package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/records"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
)

const old = "testdata/schema2"

// A migration that databases have been through must stay as it is.
func TestOldMigrationsStay(t *testing.T) {
	files, err := filepath.Glob(old + "/migrations/*.sql")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		want, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fs.ReadFile(store.Migrations(), "migrations/"+filepath.Base(f))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not what it was: change the schema with a new migration (%v)", filepath.Base(f), err)
		}
	}
}

// A database that an older program has left is brought up to date with all that
// it holds.
func TestUpgrade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := t.Context()
		before, err := store.OpenWith(ctx, url, os.DirFS(old+"/migrations"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(old + "/data.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range strings.Split(strings.TrimSpace(string(data)), ";\n") {
			if _, err = before.Exec(ctx, statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		if h, err := before.Health(ctx); err != nil || h.Schema != 2 {
			t.Fatalf("schema %d, %v", h.Schema, err)
		}
		if err = before.Close(); err != nil {
			t.Fatal(err)
		}
		db := storetest.Open(t, url)
		if h, err := db.Health(ctx); err != nil || h.Schema < 3 {
			t.Errorf("schema %d, %v", h.Schema, err)
		}
		r, err := records.New(db, records.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Call(ctx, "c1")
		if err != nil || c.State != "ended" || len(c.Transcript) != 2 || len(c.Cards) != 2 || c.N != 17 {
			t.Errorf("call %+v, %v", c, err)
		}
		list, _, err := r.List(ctx, records.Filter{Text: "信用卡 gone"})
		if err != nil || len(list) != 1 || list[0].Call != "c2" || list[0].State != "running" {
			t.Errorf("found %+v, %v", list, err)
		}
		if s, err := r.Stats(ctx); err != nil || s.Calls != 3 || s.Early != 1 || s.Erased != 1 {
			t.Errorf("stats %+v, %v", s, err)
		}
		// The audit log's chain holds, and goes on.
		dir := t.TempDir()
		for _, name := range []string{"audit.key", "audit.anchor"} {
			b, err := os.ReadFile(old + "/" + name)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		l, err := audit.New(ctx, db, audit.Config{Dir: dir, Node: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		if err = l.Append(ctx, audit.Entry{Actor: "system:n1", Action: "upgraded"}); err != nil {
			t.Fatal(err)
		}
		if report, err := l.Verify(ctx); err != nil || report.Broken != nil || report.Last.Seq != 3 {
			t.Errorf("report %+v, %v", report, err)
		}
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		files := fstest.MapFS{}
		if err := fs.WalkDir(store.Migrations(), "migrations", func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".sql") {
				b, rerr := fs.ReadFile(store.Migrations(), path)
				files[filepath.Base(path)], err = &fstest.MapFile{Data: b}, rerr
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		files["9999_tomorrow.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE tomorrow (x BIGINT);\n")}
		newer, err := store.OpenWith(t.Context(), url, files)
		if err != nil {
			t.Fatal(err)
		}
		defer newer.Close()
		_, err = store.Open(t.Context(), store.Config{URL: url})
		if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "has schema 9999, this program knows those up to") {
			t.Errorf("opened with an older program: %v", err)
		}
		if err != nil && strings.Contains(err.Error(), "sidetone@") {
			t.Errorf("the error tells the user: %v", err)
		}
	})
}

// A migration that fails leaves nothing half done, and works once its cause is
// gone.
func TestFailedMigrationLeavesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		bad := fstest.MapFS{"0001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE one (x BIGINT);\nCREATE TABLE two (x BIGINT, x BIGINT);\n")}}
		db, err := store.OpenWith(t.Context(), url, bad)
		if err == nil {
			t.Fatal("a wrong migration passes")
		}
		defer db.Close()
		if _, err = db.Exec(t.Context(), `SELECT * FROM one`); err == nil {
			t.Error("half of the migration was done")
		}
		good := fstest.MapFS{"0001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE one (x BIGINT);\nCREATE TABLE two (x BIGINT);\n")}}
		again, err := store.OpenWith(t.Context(), url, good)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
	})
}

// childURL is the environment variable with what a child of
// TestProcessesMigrateAtOnce opens.
const childURL = "SIDETONE_TEST_CHILD_URL"

func TestProcessesMigrateAtOnce(t *testing.T) {
	if url := os.Getenv(childURL); url != "" {
		storetest.Open(t, url)
		return
	}
	storetest.Each(t, func(t *testing.T, url string) {
		var children []*exec.Cmd
		out := make([]strings.Builder, 4)
		for i := range out {
			child := exec.Command(os.Args[0], "-test.run", "^TestProcessesMigrateAtOnce$")
			child.Env = append(os.Environ(), childURL+"="+url)
			child.Stdout, child.Stderr = &out[i], &out[i]
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
		for i, child := range children {
			if err := child.Wait(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, out[i].String())
			}
		}
		db := storetest.Open(t, url)
		var n, versions int
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*), COUNT(DISTINCT version_id) FROM goose_db_version`).Scan(&n, &versions); err != nil || n != versions {
			t.Errorf("%d migrations to %d versions, %v", n, versions, err)
		}
	})
}

// Two nodes that change the same row wait for each other.
func TestTransactionsExclude(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := t.Context()
		a, b := storetest.Open(t, url), storetest.Open(t, url)
		if _, err := a.Exec(ctx, `INSERT INTO erased (key, at) VALUES ('n', 0)`); err != nil {
			t.Fatal(err)
		}
		const each = 50
		done := make(chan error)
		for _, db := range []*store.DB{a, b, a} {
			go func() {
				for range each {
					err := db.Tx(ctx, func(tx *store.Tx) error {
						if err := tx.Lock(ctx, "n"); err != nil {
							return err
						}
						var n int
						if err := tx.QueryRow(ctx, `SELECT at FROM erased WHERE key = ?`, "n").Scan(&n); err != nil {
							return err
						}
						_, err := tx.Exec(ctx, `UPDATE erased SET at = ? WHERE key = 'n'`, n+1)
						return err
					})
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		var n int
		if err := b.QueryRow(ctx, `SELECT at FROM erased WHERE key = 'n'`).Scan(&n); err != nil || n != 3*each {
			t.Errorf("counted to %d, want %d, %v", n, 3*each, err)
		}
	})
}

// A deadlock is no error: one of the two is run again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	ctx, db := t.Context(), storetest.Open(t, storetest.Postgres(t))
	if _, err := db.Exec(ctx, `INSERT INTO erased (key, at) VALUES ('x', 0), ('y', 0)`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for _, order := range [][]string{{"x", "y"}, {"y", "x"}} {
		go func() {
			done <- db.Tx(ctx, func(tx *store.Tx) error {
				for _, k := range order {
					if _, err := tx.Exec(ctx, `UPDATE erased SET at = at + 1 WHERE key = ?`, k); err != nil {
						return err
					}
					time.Sleep(50 * time.Millisecond)
				}
				return nil
			})
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var sum int
	if err := db.QueryRow(ctx, `SELECT SUM(at) FROM erased`).Scan(&sum); err != nil || sum != 4 {
		t.Errorf("%d of 4 changes, %v", sum, err)
	}
}

func TestBackup(t *testing.T) {
	ctx, path := t.Context(), storetest.SQLite(t)
	db := storetest.Open(t, path)
	put := func(db *store.DB, i int) {
		t.Helper()
		if _, err := db.Exec(ctx, `INSERT INTO erased (key, at) VALUES (?, ?)`, fmt.Sprint(i), i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		put(db, i)
	}
	to := filepath.Join(t.TempDir(), "it's a copy.db")
	if err := db.Backup(ctx, to); err != nil {
		t.Fatal(err)
	}
	put(db, 100)
	if err := db.Backup(ctx, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a backup over a file: %v", err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info.Mode(), err)
	}
	var n int
	if err = storetest.Open(t, to).QueryRow(ctx, `SELECT COUNT(*) FROM erased`).Scan(&n); err != nil || n != 100 {
		t.Errorf("the copy holds %d, %v", n, err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the database: %v, %v", info.Mode(), err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no database, but long enough to be taken for one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"mysql://x/y":  "neither the path of a file",
		file + "/x.db": "not a directory",
		file:           "not a database",
		"postgres://%": "the URL of the database",
		"postgres://sidetone:secret@127.0.0.1:1/x?connect_timeout=1": "127.0.0.1:1/x: cannot be opened",
	} {
		db, err := store.Open(t.Context(), store.Config{URL: url})
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	db, err := store.Open(t.Context(), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(db.Ping(t.Context()), db.Close(), db.Close()); err != nil {
		t.Error(err)
	}
	if _, err = os.Stat(db.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a database without a name is still there: %v", err)
	}
}
