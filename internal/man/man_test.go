package man_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/man"
)

const table = `
Exit status:
    0  all is well
  .130, 143  it was told to stop; -x`

func command() *cobra.Command {
	root := &cobra.Command{Use: "tsupload", Short: "Root", Long: "Root does all.\n" + table, Run: func(*cobra.Command, []string) {}}
	root.AddCommand(&cobra.Command{Use: "sub FILE", Short: "Sub", Long: "Sub does less.\n" + table, Run: func(*cobra.Command, []string) {}})
	return root
}

func TestWrite(t *testing.T) {
	t.Parallel()
	root := command()
	long := root.Long
	dirs := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	for _, dir := range dirs {
		if err := man.Write(man.Config{Dir: dir, Root: root, ExitStatus: table, Date: time.Unix(1_700_000_000, 0), Version: "1.2.3"}); err != nil {
			t.Fatal(err)
		}
	}
	if root.Long != long {
		t.Errorf("the command was changed: %q", root.Long)
	}
	for _, name := range []string{"man1/tsupload.1", "man1/tsupload-sub.1", "completions/tsupload.bash", "completions/_tsupload", "completions/tsupload.fish"} {
		var texts [2]string
		for i, dir := range dirs {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = string(text)
		}
		if texts[0] != texts[1] {
			t.Errorf("%s differs between two calls", name)
		}
		if !strings.HasPrefix(name, "man1/") {
			continue
		}
		for _, want := range []string{".SH EXIT STATUS\n.TP\n\\fB0\\fP\nall is well\n", "\\fB.130, 143\\fP\nit was told to stop; \\-x\n", "Nov 2023", "tsupload 1.2.3"} {
			if !strings.Contains(texts[0], want) {
				t.Errorf("%s lacks %q:\n%s", name, want, texts[0])
			}
		}
		if strings.Contains(texts[0], "Exit status:") || strings.Contains(texts[0], "spf13/cobra") {
			t.Errorf("%s has the table twice, or a date of today:\n%s", name, texts[0])
		}
		if got := strings.Contains(texts[0], ".SH FILES"); got != (name == "man1/tsupload.1") {
			t.Errorf("%s: FILES %v", name, got)
		}
	}
}
