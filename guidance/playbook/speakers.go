package playbook

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"

	"sidetone/guidance"
	"sidetone/guidance/intent"
	"sidetone/guidance/speaker"
	"sidetone/internal/yamlfile"
)

//go:embed speakers.yaml
var commonSpeakers []byte

// speakersItem are phrases that tell who speaks, by role and group.
type speakersItem struct {
	Defaults *bool               `yaml:"defaults"`
	Agent    map[string][]string `yaml:"agent"`
	Customer map[string][]string `yaml:"customer"`
}

func (l *loader) speakers(out *guidance.Playbook) error {
	own := l.in.Speakers
	if own == nil || own.Defaults == nil || *own.Defaults {
		common := yamlfile.File{Name: "speakers.yaml", Source: commonSpeakers}
		var in struct {
			Speakers speakersItem `yaml:"speakers"`
		}
		if err := common.Decode(&in); err != nil {
			return fmt.Errorf("the phrases of any contact centre: %w", err)
		}
		if err := in.Speakers.add(l.who, common); err != nil {
			return fmt.Errorf("the phrases of any contact centre: %w", err)
		}
	}
	if own != nil {
		if err := own.add(l.who, l.file); err != nil {
			return err
		}
	}
	out.Speakers = l.who.Set()
	return nil
}

func (s *speakersItem) add(build *intent.Builder, file yamlfile.File) error {
	for _, part := range []struct {
		role   string
		groups map[string][]string
	}{{speaker.Agent, s.Agent}, {speaker.Customer, s.Customer}} {
		for _, name := range slices.Sorted(maps.Keys(part.groups)) {
			path := "$.speakers." + part.role + "." + name
			if len(part.groups[name]) == 0 {
				return file.Errorf(path, "group %q of the %s has no phrases", name, part.role)
			}
			if err := phrases(build, file, speaker.Group(part.role, name), path, intent.Any, part.groups[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
