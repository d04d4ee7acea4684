package checkup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sidetone/internal/store"
)

const (
	// littleDisk and leastDisk are free space that is soon, or already, too little:
	// an hour of two recorded legs is some 100 MB.
	littleDisk, leastDisk = 10 << 30, 1 << 30
	// syncs are tried; the median of more than slowSync is slow.
	syncs, slowSync = 15, 20 * time.Millisecond
	// expiresSoon is when a certificate must be renewed.
	expiresSoon = 21 * 24 * time.Hour
)

// storageDir is the configured folder, and the nearest one above it that is there.
func (c *Config) storageDir() (dir, there string, err error) {
	if dir, err = c.Config.Storage.Path(); err != nil {
		return "", "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	for there = dir; ; there = filepath.Dir(there) {
		if _, err = os.Stat(there); err == nil || !errors.Is(err, fs.ErrNotExist) || there == filepath.Dir(there) {
			return dir, there, err
		}
	}
}

// disk looks at space and speed of where things are kept.
func disk(_ context.Context, c *Config, put add) {
	dir, there, err := c.storageDir()
	if err != nil {
		put(Problem, "set storage.dir to a folder of the service's user", "storage.dir: %v", err)
		return
	}
	if there == dir {
		if st, gone := os.Stat(dir); gone == nil && st.Mode().Perm()&0o077 != 0 {
			put(Warning, "chmod 700 "+dir, "%s: others may look into it (mode %03o)", dir, st.Mode().Perm())
		}
	}
	if free, unknown := freeBytes(there); unknown != nil {
		put(Warning, "", "%s: how much space is free is not known: %v", there, unknown)
	} else {
		level, advice := OK, ""
		switch {
		case free < leastDisk:
			level, advice = Problem, "make room, or move storage.dir: without space calls are refused"
		case free < littleDisk:
			level, advice = Warning, "make room, or shorten what is kept"
		}
		put(level, advice, "%s: %s free", dir, size(free))
	}
	median, worst, err := syncTimes(there)
	switch {
	case err != nil:
		put(Problem, "the service's user must be able to write there", "%s: %v", there, err)
	case median > slowSync:
		put(Warning, "use a local SSD, or set journal.sync to 1s: then a power cut may lose so much",
			"writing and forcing 4 KiB to disk takes %v, at worst %v: slow", median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	default:
		put(OK, "", "writing and forcing 4 KiB to disk takes %v, at worst %v", median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	}
}

// syncTimes writes a file in the folder and forces each piece of it to disk.
func syncTimes(dir string) (median, worst time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".sidetone-doctor-*")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	var took []time.Duration
	for range syncs {
		at := time.Now()
		if _, err = f.Write(block); err != nil {
			return 0, 0, err
		}
		if err = f.Sync(); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1], nil
}

// journal looks where the log of events is to be.
func journal(ctx context.Context, c *Config, put add) {
	j := &c.Config.Journal
	if j.URL == "" {
		dir, _, err := c.storageDir()
		if err != nil {
			return // disk has said so
		}
		dir = filepath.Join(dir, "journal")
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			put(OK, "", "in this process; %s will be made at the first start", dir)
			return
		}
		put(OK, "", "in this process, %s", dir)
		return
	}
	for _, one := range strings.Split(j.URL, ",") {
		one = strings.TrimSpace(one)
		addr := strings.TrimPrefix(one, "nats://")
		if u, err := url.Parse(one); err == nil && u.Host != "" {
			addr = u.Host
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(addr, "4222")
		}
		limit, cancel := context.WithTimeout(ctx, askLimit)
		version, jetstream, err := askNATS(limit, addr)
		cancel()
		switch {
		case err != nil:
			put(Problem, "start NATS there, or correct journal.url", "NATS at %s: %v", addr, err)
		case !jetstream:
			put(Problem, "start nats-server with -js", "NATS %s at %s runs without JetStream", version, addr)
		default:
			put(OK, "", "NATS %s at %s, with JetStream", version, addr)
		}
	}
}

// records looks at the database.
func records(ctx context.Context, c *Config, put add) {
	at := c.Config.Storage.Records
	if at == "" {
		dir, _, err := c.storageDir()
		if err != nil {
			return // disk has said so
		}
		at = filepath.Join(dir, "sidetone.db")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askLimit)
	defer cancel()
	s, err := store.Look(ctx, store.Config{URL: at})
	switch {
	case err != nil:
		put(Problem, "see that the database runs, that the service's user may use it, and that the file is whole", "%v", err)
	case s.Empty:
		put(OK, "", "%s is empty; schema %d will be made at the first start", s.Name, s.Known)
	case s.Schema > s.Known:
		put(Problem, "run the newer program again, or restore the backup made before it", "%s has schema %d, this program knows those up to %d", s.Name, s.Schema, s.Known)
	case s.Schema < s.Known:
		put(OK, "back it up before: there is no way back from a newer schema", "%s has schema %d; the next start brings it to %d", s.Name, s.Schema, s.Known)
	default:
		put(OK, "", "%s: schema %d, %s", s.Name, s.Schema, size(uint64(max(0, s.Bytes))))
	}
}

// files are those that hold secrets.
func files(_ context.Context, c *Config, put add) {
	s := &c.Config.Sources
	all := map[string]string{
		"sources.tokens_file": s.TokensFile, "sources.audiohook.keys_file": s.AudioHook.KeysFile, "sources.twilio.token_file": s.Twilio.TokenFile,
		"sources.siprec.key_file": s.SIPREC.KeyFile, "recognition.openai.key_file": c.Config.Recognition.OpenAI.KeyFile,
		"journal.credentials_file": c.Config.Journal.CredentialsFile, "journal.secret_file": c.Config.Journal.SecretFile,
		"server.tls.key_file": c.Config.Server.TLS.KeyFile,
	}
	if dir, _, err := c.storageDir(); err == nil {
		keys, _ := filepath.Glob(filepath.Join(c.Config.Storage.KeysIn(dir), "*")) // the pattern is right
		for _, k := range keys {
			all["key "+filepath.Base(k)] = k
		}
	}
	names := make([]string, 0, len(all))
	for key, file := range all {
		if file != "" {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	for _, key := range names {
		file := all[key]
		st, err := os.Stat(file)
		switch {
		case err != nil:
			put(Problem, "give the file to the service's user, with mode 600", "%s: %v", key, err)
		case st.IsDir():
			continue
		case st.Mode().Perm()&0o007 != 0:
			put(Problem, "chmod 600 "+file, "%s: everybody on this machine may read %s (mode %03o)", key, file, st.Mode().Perm())
		case st.Mode().Perm()&0o070 != 0:
			put(Warning, "chmod 600 "+file, "%s: the group may read %s (mode %03o)", key, file, st.Mode().Perm())
		default:
			put(OK, "", "%s: only its owner reads %s", key, file)
		}
	}
}

// certificates looks at what TLS shows to others.
func certificates(_ context.Context, c *Config, put add) {
	if t := &c.Config.Server.TLS; t.On() {
		certificate("server.tls.cert_file", t.CertFile, t.KeyFile, "", time.Now(), put)
	}
	s := &c.Config.Sources.SIPREC
	if s.TLS == "" {
		return
	}
	name := s.Public
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	certificate("sources.siprec.cert_file", s.CertFile, s.KeyFile, name, time.Now(), put)
}

// certificate checks one pair of files; name, if any, must be the certificate's.
func certificate(key, cert, secret, name string, now time.Time, put add) {
	pair, err := tls.LoadX509KeyPair(cert, secret)
	if err != nil {
		put(Problem, "give the certificate with its chain, and the key that belongs to it, both PEM", "%s: %v", key, err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		put(Problem, "", "%s: %v", key, err)
		return
	}
	for _, der := range pair.Certificate[1:] {
		if _, err = x509.ParseCertificate(der); err != nil {
			put(Problem, "", "%s: the chain: %v", key, err)
			return
		}
	}
	left := leaf.NotAfter.Sub(now)
	until := leaf.NotAfter.UTC().Format("2006-01-02 15:04 UTC")
	switch {
	case now.Before(leaf.NotBefore):
		put(Problem, "set the clock right, or wait", "%s: it is valid only from %s on", key, leaf.NotBefore.UTC().Format("2006-01-02 15:04 UTC"))
	case left <= 0:
		put(Problem, "renew it", "%s: it has expired at %s", key, until)
	case left < expiresSoon:
		put(Warning, "renew it", "%s: it expires in %s, at %s", key, plural(int(left.Hours()/24), "day"), until)
	default:
		put(OK, "", "%s: valid until %s, for %s", key, until, strings.Join(names(leaf), ", "))
	}
	if name != "" {
		if err = leaf.VerifyHostname(name); err != nil {
			put(Problem, "have a certificate made for the name that clients are told", "%s: %v", key, err)
		}
	}
}

func names(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, fmt.Sprint(ip))
	}
	if len(out) == 0 {
		out = append(out, c.Subject.String())
	}
	return out
}
