package store

import (
	"context"
	"io/fs"
	"log/slog"
)

// OpenWith opens a database with other migrations than this program's.
func OpenWith(ctx context.Context, url string, files fs.FS) (*DB, error) {
	db, c := &DB{}, Config{URL: url, MaxConns: 2}
	open := db.openSQLite
	if IsPostgres(url) {
		open = db.openPostgres
	}
	if err := open(&c); err != nil {
		return nil, err
	}
	return db, db.migrateOnce(ctx, files, slog.New(slog.DiscardHandler))
}

// Migrations are this program's.
func Migrations() fs.FS { return migrations }
