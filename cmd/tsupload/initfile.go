package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/replace"
)

// What init writes.

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secretReference writes WHERE as the configuration does. An error never shows
// the text: it may be the secret itself.
func secretReference(text string) (string, error) {
	kind, where, _ := strings.Cut(text, ":")
	bad := &usageError{message: "it does not say where the secret lies", hint: "write keyring, file:PATH, env:NAME, credential:NAME or command:PROGRAM; the secret itself belongs there, not here"}
	switch {
	case kind == "keyring" && where == "":
		return "{keyring: " + config.ClientSecretName + "}", nil
	case where == "":
		return "", bad
	case kind == "env" && !variableName.MatchString(where):
		return "", &usageError{message: "that is no name of a variable", hint: "write the variable's name, not its value"}
	case kind == "command":
		return "{command: " + yamlList(strings.Fields(where)) + "}", nil
	case kind == "file":
		abs, err := filepath.Abs(where)
		if err != nil {
			return "", err
		}
		return "{file: " + yamlText(abs) + "}", nil
	case kind == "keyring", kind == "env", kind == "credential":
		return "{" + kind + ": " + yamlText(where) + "}", nil
	}
	return "", bad
}

// text is the configuration as far as it is known.
func (n *initiation) text() string {
	var b strings.Builder
	b.WriteString("# Written by tsupload init. `tsupload config show` lists every key and its value.\n")
	if !n.withoutAPI {
		section := func(name string, pairs ...[2]string) {
			head := name + ":\n"
			for _, p := range pairs {
				if p[1] != "" {
					b.WriteString(head + "  " + p[0] + ": " + p[1] + "\n")
					head = ""
				}
			}
		}
		quoted := func(s string) string {
			if s == "" {
				return ""
			}
			return yamlText(s)
		}
		list := ""
		if len(n.supports) > 0 {
			list = yamlList(n.supports)
		}
		section("api", [2]string{"url", quoted(n.apiURL)}, [2]string{"supports", list})
		secret := ""
		if n.secretFrom != "" {
			secret, _ = secretReference(n.secretFrom)
		}
		section("auth", [2]string{"issuer", quoted(n.issuer)}, [2]string{"token_url", quoted(n.tokenURL)}, [2]string{"audience", quoted(n.audience)},
			[2]string{"client_id", quoted(n.clientID)}, [2]string{"client_secret", secret})
	}
	s := n.source
	if s.name == "" {
		s.name = "source"
	}
	if s.path == "" && s.tracker == "" {
		s.path = "export.csv"
	}
	if s.timezone == "" {
		s.timezone = "UTC"
	}
	b.WriteString(s.yaml())
	return b.String()
}

// faultsOf is what `config validate` would say of a key, as things are.
func (n *initiation) faultsOf(key string) error {
	_, err := n.loaded()
	bad, ok := errors.AsType[*config.Error](err)
	if !ok {
		return err
	}
	for _, f := range bad.Faults {
		if f.Key == key || strings.HasPrefix(f.Key, key+".") || strings.HasPrefix(f.Key, key+"[") {
			return &usageError{message: f.Message, hint: f.Hint}
		}
	}
	return nil
}

// loaded is the configuration as a run would have it, the environment left
// aside.
func (n *initiation) loaded() (_ *config.Config, err error) {
	f, err := os.CreateTemp("", "tsupload-init-*.yaml")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(n.text())
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	opts := n.loadOptions()
	opts.Path, opts.Flags = f.Name(), nil
	opts.Getenv = func(name string) string {
		if strings.HasPrefix(name, "TSUPLOAD_") {
			return ""
		}
		return n.getenv(name)
	}
	return config.Load(opts)
}

// write checks all of it, reads the sample with it, and only then writes it.
func (n *initiation) write(ctx context.Context) error {
	cfg, err := n.loaded()
	if err == nil && !n.withoutAPI {
		err = cfg.ForUpload()
	}
	if bad, ok := errors.AsType[*config.Error](err); ok {
		for i := range bad.Faults {
			bad.Faults[i].Origin = config.Origin{} // of a file that is not there any more
		}
	}
	if err != nil {
		return err
	}
	if err := n.survey(ctx, cfg); err != nil {
		return err
	}
	if sig := n.signalled(); sig != nil {
		return errStopped
	}
	perm := fs.FileMode(0o600)
	if opts := n.loadOptions(); opts.Root {
		perm = 0o644 // the user that tsupload runs as has to read it, and there is no secret in it
	}
	put := replace.New
	if n.force {
		put = replace.File
	}
	switch err := put(n.out, []byte(n.text()), perm); {
	case errors.Is(err, fs.ErrExist):
		return usage("name another with --out, or replace it with --force", "%s exists", n.out)
	case errors.Is(err, fs.ErrPermission):
		return usage("name a file in a directory that you can write to with --out", "%s", err)
	case err != nil:
		return err
	}
	return n.told()
}

// survey reads the sample, where there is one, with the configuration.
func (n *initiation) survey(ctx context.Context, cfg *config.Config) error {
	if n.sample == "" {
		return nil
	}
	feed, err := n.newFeed(&cfg.Sources[0], feedOptions{files: []string{n.sample}}, n.logger(cfg))
	if err != nil {
		return err
	}
	reading, err := feed.Source.Open(ctx)
	if err != nil {
		return err
	}
	defer reading.Close()
	_, err = reading.Survey(ctx)
	return err
}

// told says what was written and what comes next.
func (n *initiation) told() error {
	with := ""
	if abs, err := filepath.Abs(n.out); err != nil || !slices.ContainsFunc(n.loadOptions().SearchPath(), func(p string) bool {
		found, err := filepath.Abs(p)
		return err == nil && found == abs
	}) {
		with = " --config " + shellWord(n.out)
	}
	next := []string{"tsupload config validate" + with, "tsupload run --dry-run" + with}
	if n.sample != "" {
		next[1] += " " + shellWord(n.sample)
	}
	if !n.withoutAPI {
		if strings.HasPrefix(n.secretFrom, "keyring") {
			next = append(next, "tsupload auth set-secret"+with+" < SECRET-FILE")
		}
		next = append(next, "tsupload ledger create"+with, "tsupload run --once"+with)
	}
	line := map[string]any{"file": n.out, "source": n.source.name, "next": next}
	reads := "the API of " + n.source.tracker
	if in := n.in; in != nil {
		line["entries"], line["seconds"], line["rejected"] = in.entries, in.seconds, in.refused
		reads = fmt.Sprintf("%s of %s hours from %s", count(in.entries, "entry"), in.seconds.Clock(), clean(n.sample))
		if in.refused > 0 {
			reads += " and refuses " + count(in.refused, "row")
		}
	}
	if n.json() {
		return n.emit("init", line)
	}
	fmt.Fprintf(n.stdout, "wrote %s: source %s, which reads %s\nnext:\n", clean(n.out), n.source.name, reads)
	for _, command := range next {
		fmt.Fprintf(n.stdout, "  %s\n", clean(command))
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// shellWord quotes s for a POSIX shell, where it has to be.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// exists says whether there is something at path, also a link to nothing.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
