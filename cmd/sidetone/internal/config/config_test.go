package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "sidetone.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// The file is the documentation: a key that it lacks, or has without a
// comment, is a key that nobody finds.
func TestEveryKeyHasADefaultAndAComment(t *testing.T) {
	var tree map[string]map[string]any
	if err := yaml.Unmarshal(YAML(), &tree); err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[Config]()
	for i := range typ.NumField() {
		sec := typ.Field(i)
		name := sec.Tag.Get("yaml")
		for j := range sec.Type.NumField() {
			key := sec.Type.Field(j).Tag.Get("yaml")
			if _, ok := tree[name][key]; !ok {
				t.Errorf("config.yaml lacks %s.%s", name, key)
			}
		}
	}
	for line := range strings.SplitSeq(string(YAML()), "\n\n") {
		keys := regexp.MustCompile(`(?m)^  [a-z_]+:`).FindAllString(line, -1)
		comments := regexp.MustCompile(`(?m)^  #.*\n(  #.*\n)*  [a-z_]+:`).FindAllString(line, -1)
		// The two ends of the port range share one comment.
		shared := strings.Count(line, "last_port:")
		if len(keys)-shared != len(comments) {
			t.Errorf("%d keys, %d with a comment in:\n%s", len(keys)-shared, len(comments), line)
		}
	}
}

func TestLoad(t *testing.T) {
	c, err := Load(write(t, "media:\n  silence_timeout: 5s\nlog:\n  format: json\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Media.SilenceTimeout != 5*time.Second || c.Log.Format != "json" || c.Media.FirstPort != 20000 {
		t.Errorf("got %+v", c)
	}
	for _, text := range []string{"", "# nothing yet\n"} {
		if _, err := Load(write(t, text)); err != nil {
			t.Errorf("a file with nothing but %q: %v", text, err)
		}
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"unknown key", "media:\n  hots: 127.0.0.1\n", "hots"},
		{"unknown section", "medias: {}\n", "medias"},
		{"wrong type", "recognition:\n  workers: many\n", "2:12"},
		{"no address", "media:\n  host: pbx\n", "media.host"},
		{"port range", "media:\n  first_port: 30000\n", "media.first_port"},
		{"listen", "server:\n  listen: here\n", "server.listen"},
		{"time", "media:\n  setup_timeout: 0s\n", "media.setup_timeout"},
		{"level", "log:\n  level: loud\n", "log.level"},
		{"format", "log:\n  format: xml\n", "log.format"},
		{"workers", "recognition:\n  workers: 0\n", "recognition.workers"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a missing file is accepted")
	}
}
