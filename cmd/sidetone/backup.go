package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	voicestore "sidetone/voiceprint/store"
)

func backupCmd() *cobra.Command {
	var configPath, out, keys string
	var o app.BackupOptions
	c := &cobra.Command{
		Use:   "backup --out FILE",
		Short: "Copy what is kept into one file, while the server runs",
		Long: `Writes the records, with all events of all calls, as they are at one moment, to one
file, and a manifest with the hashes of all recordings. A server may run meanwhile;
where none does, the journal goes along. Records in PostgreSQL are not copied: use
pg_dump.

Calls' words stand in the file in clear; pipe it through age or the like. The keys
of recordings, voices and audit log go into a file of their own, to be kept
elsewhere.

Where voices are kept, a small file beside the backup, voice-tombstones-….json, is
brought up to date: who has opted out or was erased, by pseudonyms, and what was
taken off the watch list. sidetone restore applies it, so that an older backup
brings nobody back. Keep one for all backups, and keep it longest.`,
		Example: `  sidetone backup -c sidetone.yaml --out sidetone.tar --keys-out keys.tar
  sidetone backup -c sidetone.yaml --out - | age -r age1... > sidetone.tar.age`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return errors.New("say where to: --out FILE, or --out - for the standard output")
			}
			o.Version = version
			return runBackup(cmd.Context(), configPath, out, keys, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVarP(&configPath, "config", "c", "", "configuration file; empty: the defaults")
	f.StringVar(&out, "out", "", "`file` to write, which must not be there; - for the standard output")
	f.StringVar(&keys, "keys-out", "", "`file` for the keys alone")
	f.BoolVar(&o.Recordings, "recordings", false, "copy the recordings, too")
	f.StringVar(&o.Tombstones, "tombstones", "", "`folder` of the tombstones; empty: that of --out")
	f.BoolVar(&o.Keys, "with-keys", false, "put the keys into the same file: who has it can read everything")
	return c
}

func runBackup(ctx context.Context, configPath, out, keys string, o app.BackupOptions, stdout, stderr io.Writer) (err error) {
	cfg, err := config.Load(configPath)
	if err != nil {
		return err
	}
	log, err := cfg.Log.Logger(stderr)
	if err != nil {
		return err
	}
	to := stdout
	if out != "-" {
		f, openErr := newFile(out)
		if openErr != nil {
			return openErr
		}
		defer f.finish(&err)
		to = f
		o.Tombstones = cmp.Or(o.Tombstones, filepath.Dir(out))
	}
	if keys != "" {
		f, openErr := newFile(keys)
		if openErr != nil {
			return openErr
		}
		defer f.finish(&err)
		o.SplitKeys = f
	}
	m, err := app.Backup(ctx, &cfg, log, o, to)
	if err != nil {
		return err
	}
	size := int64(0)
	for _, f := range m.Files {
		size += f.Size
	}
	journal := "a server runs: its journal stays, the records have its events"
	if m.Cold {
		journal = "no server runs: the journal is in it"
	}
	_, err = fmt.Fprintf(stderr, "%d files, %.1f MB, schema %d, %d recordings in the manifest; %s\n", len(m.Files), float64(size)/1e6, m.Schema, len(m.Recordings), journal)
	return err
}

// part is a file that is not there before it is whole.
type part struct {
	*os.File
	name string
}

// newFile begins a file that must not be there yet; only its owner may read it.
func newFile(name string) (*part, error) {
	if _, err := os.Lstat(name); err == nil {
		return nil, fmt.Errorf("%s is there already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return nil, err
	}
	return &part{f, name}, nil
}

// finish puts the file in its place, or removes it where there was an error.
func (p *part) finish(err *error) {
	if *err == nil {
		*err = p.Sync()
	}
	*err = errors.Join(*err, p.Close())
	if *err == nil {
		*err = os.Rename(p.Name(), p.name)
	}
	if *err != nil {
		*err = errors.Join(*err, os.Remove(p.Name()))
	}
}

func restoreCmd() *cobra.Command {
	var configPath, from, keys, stones string
	c := &cobra.Command{
		Use:   "restore --from FILE",
		Short: "Take a backup out into an empty storage folder",
		Long: `Checks a backup's hashes and takes it out into the configuration's storage.dir,
which must not hold anything yet. Calls that ran when it was made get their end
state. A backup of a newer program is refused by the server's start.

Where voices are in it, the tombstones that lie beside the backup, and those that a
server has kept in the folder of the keys, are applied: who has opted out or was
erased since it was made is so again.`,
		Example: `  sidetone restore -c sidetone.yaml --from sidetone.tar --keys keys.tar
  age -d -i key.txt sidetone.tar.age | sidetone restore -c sidetone.yaml --from -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return errors.New("say what to restore: --from FILE, or --from - for the standard input")
			}
			return runRestore(cmd.Context(), configPath, from, keys, stones, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVarP(&configPath, "config", "c", "", "configuration file; empty: the defaults")
	f.StringVar(&from, "from", "", "`file` of sidetone backup; - for the standard input")
	f.StringVar(&keys, "keys", "", "`file` of its keys (--keys-out)")
	f.StringVar(&stones, "tombstones", "", "`folder` of the tombstones; empty: that of --from")
	return c
}

func runRestore(ctx context.Context, configPath, from, keys, stones string, stdin io.Reader, stdout, stderr io.Writer) error {
	cfg, err := config.Load(configPath)
	if err != nil {
		return err
	}
	log, err := cfg.Log.Logger(stderr)
	if err != nil {
		return err
	}
	in := stdin
	if from != "-" {
		f, openErr := os.Open(from)
		if openErr != nil {
			return openErr
		}
		defer f.Close()
		in = f
		stones = cmp.Or(stones, filepath.Dir(from))
	}
	var k io.Reader
	if keys != "" {
		f, openErr := os.Open(keys)
		if openErr != nil {
			return openErr
		}
		defer f.Close()
		k = f
	}
	m, ended, err := app.Restore(ctx, &cfg, log, in, k)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d files of %s, made by version %s on %s; %d calls that ran then are lost\n",
		len(m.Files), m.Made.Local().Format("2006-01-02 15:04:05"), m.Version, m.Node, ended)
	if err != nil || m.Schema == 0 {
		return err
	}
	b, err := app.BuryRestored(ctx, &cfg, log, voicestore.Actor{Name: operator()}, stones)
	if err != nil {
		return fmt.Errorf("the backup is restored, but who has opted out or was erased since may be back; apply the tombstones before anybody calls (sidetone voice bury FILE): %w", app.ExplainVoice(err))
	}
	return tellBuried(stdout, &b)
}

// tellBuried says what the tombstones did, or what must be done about them.
func tellBuried(out io.Writer, b *app.Buried) (err error) {
	switch {
	case !b.Used:
	case !b.Keyed:
		_, err = fmt.Fprintln(out, "Voices are in it, but not their key: put voice.key back, then apply the newest tombstones (sidetone voice bury FILE), or who has opted out or was erased since is back")
	case len(b.Files) == 0:
		_, err = fmt.Fprintln(out, "Voices are in it, and no tombstones lie beside it: who has opted out or was erased since is back. Apply the newest: sidetone voice bury FILE")
	default:
		_, err = fmt.Fprintf(out, "%s, the newest of %s: %d persons or voices of the watch list that were gone since are gone again\n", strings.Join(b.Files, ", "), b.Made.Local().Format("2006-01-02 15:04:05"), b.Changed)
	}
	return err
}
