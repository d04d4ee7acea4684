package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
)

// enrolment is what is to be made of some files.
type enrolment struct {
	customer, line string
	files          []string
	channel        int
}

func enrollCmd() *cobra.Command {
	var configPath, list, consent, how string
	var one enrolment
	var replace, duplicates bool
	c := &cobra.Command{
		Use:   "enroll [FILE.wav ...]",
		Short: "Enrol customers' voices from recordings",
		Long: `Makes a template of what a customer has said in WAV files: 20 s of speech or
more without the pauses, 30 s are better. Files that are too noisy, clipped or hold
two voices are not used, and it says which and why.

A customer is whom your own books call so: the name with which calls are opened
("customer" in POST /v1/calls), or a telephone number; agent:NAME is an agent, whose
own voice tells swapped legs. Nobody is enrolled who has not consented. What they
agreed to is recorded with --consent, the version of the text that they were read;
without it the consent must be there.

With --csv many are enrolled: a file with the columns customer and file, and line
and channel if you like. Rows of one customer and line make one template. Files lie
relative to the CSV file.

It works beside a running server, on whose machine it is called; other servers use
the template with the next call.`,
		Example: `  sidetone enroll --customer LB-40172 --consent "voice terms 3" margaret.wav
  sidetone enroll --customer +43155512345 --channel 2 call-1.wav call-2.wav
  sidetone enroll --csv people.csv --consent "voice terms 3" --how signed`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			all := []enrolment{one}
			all[0].files = args
			switch {
			case list != "" && (len(args) > 0 || one.customer != ""):
				return errors.New("give --csv, or --customer and files, not both")
			case list != "":
				if all, err = readPeople(list, one); err != nil {
					return err
				}
			case one.customer == "" || len(args) == 0:
				return errors.New("give --customer and the files in which they speak, or --csv")
			case one.channel < 1:
				return fmt.Errorf("--channel %d: channels are counted from 1", one.channel)
			}
			cfg, err := config.Load(configPath)
			if err != nil {
				return err
			}
			v, err := app.OpenVoices(cmd.Context(), &cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				return app.ExplainVoice(err)
			}
			defer func() { err = errors.Join(err, v.Close()) }()
			by := voicestore.Actor{Name: operator()}
			e, err := v.Enrolling(&cfg, by)
			if err != nil {
				return err
			}
			e.Replace, e.AllowDuplicates = replace, duplicates
			return enrolAll(cmd.Context(), cmd.OutOrStdout(), e, all, voicestore.Consent{Text: consent, Channel: "sidetone enroll", How: how})
		},
	}
	f := c.Flags()
	f.StringVarP(&configPath, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	f.StringVar(&one.customer, "customer", "", "who it is")
	f.StringVar(&one.line, "line", "", "what they were heard over, such as phone or headset (default phone)")
	f.IntVar(&one.channel, "channel", 1, "channel of the files that carries their voice")
	f.StringVar(&list, "csv", "", "file with the columns customer, file and perhaps line, channel")
	f.StringVar(&consent, "consent", "", "version of the text that they agreed to; empty: they have consented before")
	f.StringVar(&how, "how", "signed", "in what way they agreed, such as signed or spoken")
	f.BoolVar(&duplicates, "allow-duplicates", false, "enrol a voice that is enrolled under another name, too; the audit log tells")
	f.BoolVar(&replace, "replace", false, "replace the templates of the same line")
	return c
}

// readPeople reads whom to enrol by which files.
func readPeople(path string, usual enrolment) ([]enrolment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	at := map[string]int{}
	for i, name := range head {
		at[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range []string{"customer", "file"} {
		if _, ok := at[name]; !ok {
			return nil, fmt.Errorf("%s: the column %q is missing; there are %s", path, name, strings.Join(head, ", "))
		}
	}
	var all []enrolment
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		cell := func(name, instead string) string {
			if i, ok := at[name]; ok && strings.TrimSpace(row[i]) != "" {
				return strings.TrimSpace(row[i])
			}
			return instead
		}
		line, _ := r.FieldPos(0)
		e := enrolment{customer: cell("customer", ""), line: cell("line", usual.line)}
		if e.channel, err = strconv.Atoi(cell("channel", strconv.Itoa(usual.channel))); err != nil || e.channel < 1 {
			return nil, fmt.Errorf("%s:%d: the channel %q is not a number from 1 on", path, line, cell("channel", ""))
		}
		file := cell("file", "")
		if e.customer == "" || file == "" {
			return nil, fmt.Errorf("%s:%d: customer or file is empty", path, line)
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		i := slices.IndexFunc(all, func(o enrolment) bool {
			return o.customer == e.customer && o.line == e.line && o.channel == e.channel
		})
		if i < 0 {
			i, all = len(all), append(all, e)
		}
		all[i].files = append(all[i].files, file)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: nobody is in it", path)
	}
	return all, nil
}

// enrolAll enrols one after the other; one who cannot be enrolled does not keep the
// others from it.
func enrolAll(ctx context.Context, out io.Writer, e *app.Enrolling, all []enrolment, consent voicestore.Consent) error {
	show := func(int) {}
	if len(all) > 1 {
		show = progress(len(all), "customers")
	}
	failed := 0
	for i, one := range all {
		err := enrolOne(ctx, out, e, one, consent)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed++
			fmt.Fprintf(out, "%s: not enrolled: %v\n", one.customer, app.ExplainVoice(err))
		}
		show(i + 1)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d were not enrolled", failed, len(all))
	}
	return nil
}

func enrolOne(ctx context.Context, out io.Writer, e *app.Enrolling, one enrolment, consent voicestore.Consent) error {
	speech, err := readSpeech(one.files, one.channel)
	if err != nil {
		return err
	}
	if consent.Text != "" {
		if err = e.Store.Consent(ctx, e.By, one.customer, consent); err != nil {
			return err
		}
	}
	e.Customer, e.Line, e.Source = one.customer, one.line, "file"
	done, err := e.Enrol(ctx, speech)
	var no *enrol.RefusalError
	if errors.As(err, &no) {
		tellReport(out, one.customer, &no.Report)
	}
	var others *app.DuplicateError
	if errors.As(err, &others) {
		return fmt.Errorf("%w: %s; find out whose it is, or use --allow-duplicates", err, strings.Join(others.Customers, ", "))
	}
	if err != nil {
		return err
	}
	tellReport(out, one.customer, &done.Report)
	_, err = fmt.Fprintf(out, "%s: enrolled, template %s\n", one.customer, done.Template)
	return err
}

// tellReport says how an enrolment stands.
func tellReport(out io.Writer, customer string, r *enrol.Report) {
	fmt.Fprintf(out, "%s: %.1f s of speech, %d %% of what is recommended", customer, r.Net.Seconds(), r.Percent)
	if r.Missing > 0 {
		fmt.Fprintf(out, "; %.1f s more are needed", r.Missing.Seconds())
	}
	fmt.Fprintln(out)
	for _, f := range r.Refused {
		fmt.Fprintf(out, "  %s is not used: %s\n", f.Name, inWords(f.Reasons))
	}
}

// inWords says reasons as people would.
func inWords(reasons []voiceprint.Reason) string {
	said := make([]string, len(reasons))
	for i, r := range reasons {
		said[i] = strings.ReplaceAll(string(r), "_", " ")
	}
	return strings.Join(said, ", ")
}
