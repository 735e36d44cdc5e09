package deploy_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The image's build sees only what .dockerignore lets through: all that the
// program is made of has to be there.
func TestImageGetsTheSource(t *testing.T) {
	t.Parallel()
	var let []string
	for line := range strings.Lines(read(t, "..", ".dockerignore")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			let = append(let, name)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Dir,Module,EmbedFiles", "../cmd/tsupload")
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			Dir        string
			Module     *struct{ Main bool }
			EmbedFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		packages++
		dir, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(filepath.ToSlash(dir), "/"); !slices.Contains(let, first) {
			t.Errorf(".dockerignore leaves out %s", dir)
		}
		for _, file := range p.EmbedFiles {
			if path := filepath.ToSlash(filepath.Join(dir, file)); strings.Contains(path, "testdata/") || strings.HasSuffix(path, "_test.go") {
				t.Errorf(".dockerignore leaves out %s", path)
			}
		}
	}
	if packages < 8 {
		t.Errorf("go list tells of %d packages only", packages)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if !slices.Contains(let, name) {
			t.Errorf(".dockerignore leaves out %s", name)
		}
	}
}

// Image and release are built alike, and the manifests run the image as the
// user that it names.
func TestImageIsLikeTheRelease(t *testing.T) {
	t.Parallel()
	image, release := read(t, "Dockerfile"), read(t, "..", ".goreleaser.yaml")
	for _, want := range []string{"-trimpath", "-buildvcs=false", "-s -w", "-X main.version=", "-X main.commit=", "-X main.date=", "CGO_ENABLED=0", "./cmd/tsupload"} {
		if !strings.Contains(image, want) || !strings.Contains(release, want) {
			t.Errorf("%s is not in both Dockerfile and .goreleaser.yaml", want)
		}
	}
	user := regexp.MustCompile(`(?m)^USER (\d+):`).FindStringSubmatch(image)
	if user == nil {
		t.Fatal("the image has no user")
	}
	manifests, err := filepath.Glob("kubernetes/overlays/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range manifests {
		if text := read(t, file); strings.Contains(text, "runAsUser") && !strings.Contains(text, "runAsUser: "+user[1]+"\n") {
			t.Errorf("%s runs as another user than %s", file, user[1])
		}
	}
	// The Go of the image has to be that of the module.
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "..", "go.mod"))
	if !strings.Contains(image, "golang:"+module[1]+"-") {
		t.Errorf("the image is not built with Go %s", module[1])
	}
}
