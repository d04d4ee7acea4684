package checkup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/clock"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/models"
	"sidetone/internal/nn"
	"sidetone/media/port"
)

const (
	// clockOff is how far the clock may be off before times cannot be compared
	// with those of others, and clockWrong before certificates and logins fail.
	clockOff, clockWrong = 100 * time.Millisecond, 30 * time.Second
	// stepped is by how much the clock may move against the monotonic one while
	// the doctor looks.
	stepped = 50 * time.Millisecond
	// memoryBase is what the program takes besides models and legs.
	memoryBase = 256 << 20
)

// limits are those of the process and the kernel.
func limits(_ context.Context, c *Config, put add) {
	need := uint64(c.Config.Media.MaxCalls*(legsPerCall*socketsPerLeg+filesPerCall) + filesBesides)
	switch have, err := openFiles(); {
	case err != nil:
		put(Warning, "", "how many files may be open is not known: %v", err)
	case have < need:
		put(Problem, fmt.Sprintf("set LimitNOFILE=%d in the unit, or ulimit -n", max(65536, need)), "%d files and sockets may be open; media.max_calls %d takes about %d", have, c.Config.Media.MaxCalls, need)
	default:
		put(OK, "", "%d files and sockets may be open, about %d are needed", have, need)
	}
	const key = "net.core.rmem_max"
	b, err := os.ReadFile(filepath.Join(c.Proc, "sys/net/core/rmem_max"))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	n, bad := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil || bad != nil:
		put(Warning, "", "%s: %v", key, errors.Join(err, bad))
	case n < port.DefaultReadBuffer:
		put(Warning, fmt.Sprintf("sysctl -w %s=%d, and the same in /etc/sysctl.d/", key, port.DefaultReadBuffer),
			"%s %d: a leg's socket holds about %v of audio while the machine is busy, then packets are lost", key, n, (time.Minute * time.Duration(n) / port.DefaultReadBuffer).Round(100*time.Millisecond))
	default:
		put(OK, "", "%s %d: a leg's socket holds a minute of audio", key, n)
	}
}

// store is the one of the configuration.
func (c *Config) store() (*models.Store, error) {
	if at := c.Config.Models.Store; at != "" && !strings.Contains(at, "://") {
		return models.New(models.Config{Dir: filepath.Clean(at)})
	}
	return models.Default(), nil
}

// used are the models that the configuration asks for.
func (c *Config) used() []string {
	used := []string{"silero-vad"}
	if c.Config.Voice.On {
		used = append(used, config.VoiceModel)
	}
	if r := &c.Config.Recognition; r.Uses(config.Whisper) {
		used = append(used, r.Model)
		if r.FinalsModel != "" && r.FinalsModel != r.Model {
			used = append(used, r.FinalsModel)
		}
	}
	return used
}

// modelFiles are read to the last byte.
func modelFiles(_ context.Context, c *Config, put add) {
	s, err := c.store()
	if err != nil {
		put(Problem, "correct models.store", "models.store: %v", err)
		return
	}
	for _, name := range c.used() {
		files, err := s.Check(name)
		total := int64(0)
		for _, f := range files {
			total += f.File.Size
			err = errors.Join(err, f.Err)
		}
		if err != nil {
			put(Problem, "sidetone models pull "+name, "%v", err)
			continue
		}
		put(OK, "", "%s: %s, size and hash are right", name, size(uint64(total)))
	}
}

// processor is what the kernels run on.
func processor(_ context.Context, c *Config, put add) {
	if name := nn.Name(); name == "plain Go" {
		put(Warning, "use a processor with AVX2 (from 2013 on) or NEON; in a virtual machine let the guest see it", "the kernels are plain Go: many times slower")
	} else {
		put(OK, "", "the kernels use %s; fast in bytes: %v (VNNI), in bfloat16: %v", name, nn.Int8Fast(), nn.BfloatFast())
	}
	cores, workers := runtime.GOMAXPROCS(0), c.Config.Recognition.Workers
	switch {
	case !c.Config.Recognition.Uses(config.Whisper):
		put(OK, "", "%s; recognition is elsewhere", plural(cores, "core"))
	case workers > cores:
		put(Warning, fmt.Sprintf("set recognition.workers to %d", cores), "%d decodes may run at once on %s: each becomes slower", workers, plural(cores, "core"))
	case workers < cores-1:
		put(Warning, fmt.Sprintf("set recognition.workers to %d", max(1, cores-1)), "recognition may use %d of %s", workers, plural(cores, "core"))
	default:
		put(OK, "", "%s, %s", plural(cores, "core"), plural(workers, "worker"))
	}
}

// memory compares what there is with what the calls would take.
func memory(_ context.Context, c *Config, put add) {
	have, what, err := freeMemory(c.Proc)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		put(Warning, "", "how much memory is free is not known: %v", err)
		return
	}
	need := uint64(memoryBase)
	if s, err := c.store(); err == nil {
		for _, name := range c.used() {
			for _, m := range s.Models() {
				if m.Name == name {
					// Weights are laid out anew for the kernels, beside the file's.
					need += 2 * uint64(m.Size())
				}
			}
		}
	}
	need += uint64(c.Config.Media.MaxCalls) * legsPerCall * perLeg
	switch {
	case have < need:
		put(Problem, "lower media.max_calls, choose a smaller model, or add memory", "%s: %s; the models and %d calls take about %s", what, size(have), c.Config.Media.MaxCalls, size(need))
	default:
		put(OK, "", "%s: %s; the models and %d calls take about %s", what, size(have), c.Config.Media.MaxCalls, size(need))
	}
}

// freeMemory is what may still be taken: the kernel's estimate, or what the
// control group leaves.
func freeMemory(proc string) (free uint64, what string, err error) {
	b, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err != nil {
		return 0, "", err
	}
	for line := range strings.Lines(string(b)) {
		var kb uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); n == 1 {
			free, what = kb<<10, "memory available"
		}
	}
	if what == "" {
		return 0, "", errors.New("meminfo names no MemAvailable")
	}
	group, err := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	if err != nil {
		return free, what, nil //nolint:nilerr // without control groups there is no such limit
	}
	name, ok := strings.CutPrefix(strings.TrimSpace(string(group)), "0::")
	if !ok {
		return free, what, nil
	}
	number := func(file string) (uint64, bool) {
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", name, file))
		n, bad := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		return n, err == nil && bad == nil
	}
	if limit, ok := number("memory.max"); ok {
		if now, ok := number("memory.current"); ok && limit-min(now, limit) < free {
			return limit - min(now, limit), "memory that the control group leaves", nil
		}
	}
	return free, what, nil
}

// clocks compares the clock with the monotonic one, the kernel's opinion of it and
// a time server, where one is configured.
func clocks(ctx context.Context, c *Config, begun time.Time, put add) {
	now := time.Now()
	// Round strips the monotonic reading: what is left is the wall clock's.
	if moved := now.Round(0).Sub(begun.Round(0)) - now.Sub(begun); moved.Abs() > stepped {
		put(Warning, "have one service only set the clock, by slewing (chrony, systemd-timesyncd)", "the clock was moved by %v while the doctor looked", moved.Round(time.Millisecond))
	}
	if now.Year() < 2024 {
		put(Problem, "set it", "the clock says %s", now.Format(time.DateTime))
	}
	synced, known := kernelSynced()
	server := c.Config.Doctor.NTP
	if server == "" {
		switch {
		case known && synced:
			put(OK, "", "%s; the kernel says that it is kept in step", now.UTC().Format("2006-01-02 15:04:05 UTC"))
		case known:
			put(Warning, "run chrony or systemd-timesyncd; doctor.ntp lets the doctor measure the offset", "%s; nothing keeps the clock in step, as far as the kernel knows", now.UTC().Format("2006-01-02 15:04:05 UTC"))
		default:
			put(OK, "set doctor.ntp to have the offset measured", "%s", now.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
		return
	}
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r, err := clock.Ask(limit, server)
	switch off := r.Offset.Abs(); {
	case err != nil:
		put(Warning, "correct doctor.ntp, or let UDP port 123 out", "%v", err)
	case off > clockWrong:
		put(Problem, "run chrony or systemd-timesyncd", "the clock is off by %v: certificates and logins may fail", r.Offset.Round(time.Millisecond))
	case off > clockOff:
		put(Warning, "run chrony or systemd-timesyncd", "the clock is off by %v: times of several machines cannot be compared", r.Offset.Round(time.Millisecond))
	default:
		put(OK, "", "the clock is off by %v, as %s (stratum %d) tells it", r.Offset.Round(10*time.Microsecond), server, r.Stratum)
	}
	if r.Leap {
		put(Warning, "see that time servers smear it", "a leap second is announced for the end of this day")
	}
}
