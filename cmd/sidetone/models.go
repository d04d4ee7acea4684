package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/internal/models"
)

func modelsCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "models",
		Short: "Get, list and verify the weights of the neural networks",
		Long: `Weights are kept outside the program: in the folder that SIDETONE_MODELS names,
or in the user's cache folder. Every file has a known size and SHA-256 and is
checked before it is used. SIDETONE_MODELS may also be the URL (http, https or
file) of a mirror that has the files as NAME/FILE; it is asked first, then the
publisher, then python3's pip.`,
	}
	c.AddCommand(modelsPullCmd(), modelsListCmd(), modelsVerifyCmd(), modelsPathCmd())
	return c
}

func modelsPullCmd() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "pull [NAME...]",
		Short: "Fetch what is missing or damaged; without names, what Sidetone needs by default",
		Example: `  sidetone models pull
  sidetone models pull whisper-base
  SIDETONE_MODELS=https://mirror.example/sidetone sidetone models pull`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if all && len(names) > 0 {
				return errors.New("models pull: give names or --all, not both")
			}
			return pullModels(cmd.Context(), models.Default(), newMeter(os.Stderr), names, all)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "fetch the optional models too")
	return c
}

func modelsListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "Print every known model: size, licence, state and where it lies",
		Example: "  sidetone models list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listModels(cmd.OutOrStdout(), models.Default())
		},
	}
}

func modelsVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Check sizes and hashes; fail if anything is missing or damaged",
		Long: `Verify reads every byte of the named models, or of the models that Sidetone
needs by default and of the optional ones that are there, and compares sizes and
hashes with the manifest. It fails if anything is missing or damaged.`,
		Example: `  sidetone models verify
  sidetone models verify whisper-base`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return verifyModels(cmd.OutOrStdout(), models.Default(), names)
		},
	}
}

func modelsPathCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "path NAME",
		Short:   "Verify a model and print the folder that holds it",
		Example: "  sidetone models path whisper-tiny.en",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := models.Default()
			if _, err := s.FS(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(s.Dir(), args[0]))
			return err
		},
	}
}

func pullModels(ctx context.Context, s *models.Store, m *meter, names []string, all bool) error {
	if len(names) == 0 {
		for _, e := range s.Models() {
			if all || !e.Optional {
				names = append(names, e.Name)
			}
		}
	}
	var failed error
	for _, name := range names {
		err := s.Pull(ctx, name, m.show)
		m.end()
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		fmt.Fprintf(m.w, "%s: ready in %s\n", name, filepath.Join(s.Dir(), name))
	}
	return failed
}

// modelState says in a word or two how a model's files are, and what is wrong
// with those that are not in order.
func modelState(s *models.Store, m models.Model) (string, []error, error) {
	files, err := s.Check(m.Name)
	if err != nil {
		return "", nil, err
	}
	var bad []error
	missing := 0
	worst := models.Missing
	for _, f := range files {
		if f.Err == nil {
			continue
		}
		bad = append(bad, f.Err)
		var fe *models.FileError
		switch {
		case errors.Is(f.Err, fs.ErrNotExist):
			missing++
		case errors.As(f.Err, &fe):
			worst = max(worst, fe.Problem)
		}
	}
	switch {
	case len(bad) == 0:
		return "ok", nil, nil
	case missing == len(files) && m.Optional:
		return "optional", bad, nil
	case missing == len(files):
		return "missing", bad, nil
	case missing == len(bad):
		return "incomplete", bad, nil
	}
	return worst.String(), bad, nil
}

func listModels(w io.Writer, s *models.Store) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSIZE\tLICENCE\tSTATE\tWHERE\tWHAT")
	for _, m := range s.Models() {
		state, _, err := modelState(s, m)
		if err != nil {
			return err
		}
		where := filepath.Join(s.Dir(), m.Name)
		if state == "optional" || state == "missing" {
			where = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, megabytes(m.Size()), m.Licence, state, where, m.About)
	}
	return t.Flush()
}

func verifyModels(w io.Writer, s *models.Store, names []string) error {
	for _, name := range names {
		if _, err := s.Check(name); err != nil {
			return err
		}
	}
	wrong := 0
	for _, m := range s.Models() {
		if len(names) > 0 && !slices.Contains(names, m.Name) {
			continue
		}
		state, bad, err := modelState(s, m)
		if err != nil {
			return err
		}
		if state == "optional" && len(names) == 0 {
			continue
		}
		if len(bad) > 0 {
			wrong++
			if state == "optional" {
				state = "missing"
			}
		}
		fmt.Fprintf(w, "%s: %s\n", m.Name, state)
		for _, b := range bad {
			fmt.Fprintf(w, "  %v\n", b)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of the models verified cannot be used: `sidetone models pull` fetches what is missing or damaged", wrong)
	}
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// meter shows how a download gets on: a bar on a terminal, elsewhere a line
// at every quarter of what is large enough to be waited for.
type meter struct {
	w        io.Writer
	terminal bool

	item    string
	bar     *progressbar.ProgressBar
	quarter int64
}

func newMeter(f *os.File) *meter {
	st, err := f.Stat()
	return &meter{w: f, terminal: err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"}
}

func (m *meter) show(e models.Event) {
	if e.Failed != nil {
		m.end()
		fmt.Fprintf(m.w, "%s: %v\n", e.Model, e.Failed)
		return
	}
	item := e.Model + ": " + e.Item
	if item != m.item {
		m.end()
		m.item, m.quarter = item, -1
		if m.terminal {
			m.bar = progressbar.NewOptions64(e.Total,
				progressbar.OptionSetWriter(m.w), progressbar.OptionSetDescription(item),
				progressbar.OptionShowBytes(true), progressbar.OptionSetWidth(24))
		}
	}
	if m.bar != nil {
		// The bar fails only when its writer does, and then nobody looks.
		_ = m.bar.Set64(e.Done)
		return
	}
	if q := e.Done * 4 / max(e.Total, 1); q > m.quarter && e.Total >= 8e6 {
		m.quarter = q
		fmt.Fprintf(m.w, "%s: %s of %s\n", item, megabytes(e.Done), megabytes(e.Total))
	}
}

// end closes the line of a bar.
func (m *meter) end() {
	if m.bar != nil {
		fmt.Fprintln(m.w)
	}
	m.item, m.bar = "", nil
}
