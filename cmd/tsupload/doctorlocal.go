package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/tokencache"
)

// What the doctor looks at on this machine.

func (d *doctor) checkConfig(context.Context) []finding {
	cfg, err := d.a.load()
	if err != nil {
		return []finding{failure(exitConfig, "`tsupload config validate` says the same until it is mended", "%s", err)}
	}
	if cfg.File == "" {
		return []finding{failure(exitConfig, "write ./tsupload.yaml, or name a file with --config", "there is no configuration file")}
	}
	d.cfg = cfg
	found := []finding{fine("%s, %s", cfg.File, things(len(cfg.Sources), "source"))}
	if info, err := os.Stat(cfg.File); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
		found = append(found, warning("chmod o-w "+cfg.File, "everybody can change the configuration, and with it where hours and credentials go (mode %04o)", info.Mode().Perm()))
	}
	return found
}

// checkSettings says nothing where all is there.
func (d *doctor) checkSettings(context.Context) []finding {
	if err := d.cfg.ForUpload(); err != nil {
		return []finding{failure(exitConfig, "for --dry-run and --sandbox it is enough as it is", "an upload needs more: %s", err)}
	}
	if err := d.connect(); err != nil {
		return []finding{failed(err)}
	}
	return nil
}

// checkFiles looks at the state directory and at the tokens in it.
func (d *doctor) checkFiles(context.Context) []finding {
	dir := d.cfg.State.Dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return []finding{warning("`tsupload ledger create` makes it; if this is not the first run, the state volume is missing", "there is no state directory %s", dir)}
	case err != nil:
		return []finding{failed(err)}
	}
	if uid, ok := ownerOf(info); ok && uid != os.Geteuid() {
		return []finding{failure(exitConfig, fmt.Sprintf("run it as that user, such as: sudo -u '#%d' tsupload doctor", uid),
			"the state directory %s belongs to user %d, and this is user %d", dir, uid, os.Geteuid())}
	}
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o022 != 0 {
		return []finding{failure(exitConfig, "chmod 700 "+dir, "others can write in the state directory %s (mode %04o), so no run uses it", dir, perm)}
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return []finding{failure(exitFault, "a run has to write there: see its mode, and whether the disk is full or read-only", "the state directory cannot be written: %s", err)}
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	var open []finding
	for _, name := range tokenFiles(d.cfg) {
		info, err := os.Lstat(name)
		if err != nil || runtime.GOOS == "windows" {
			continue
		}
		uid, known := ownerOf(info)
		switch perm := info.Mode().Perm(); {
		case known && info.IsDir() && uid != os.Geteuid():
			open = append(open, failure(exitConfig, fmt.Sprintf("chown %d %s", os.Geteuid(), name), "%s, where tokens are kept, belongs to user %d, so no new one is kept there", name, uid))
		case info.IsDir() && perm&0o022 != 0:
			open = append(open, failure(exitConfig, "chmod 700 "+name, "others can write where tokens are kept (%s, mode %04o), so no new one is kept there", name, perm))
		case info.Mode().IsRegular() && perm&0o077 != 0:
			open = append(open, warning("chmod 600 "+name, "others can read a kept token (%s, mode %04o), so it is not used", name, perm))
		case known && uid != os.Geteuid():
			open = append(open, warning(fmt.Sprintf("chown %d %s", os.Geteuid(), name), "%s belongs to user %d, so it is not used", name, uid))
		}
	}
	if len(open) > 0 {
		return open
	}
	return []finding{fine("state directory %s can be written, and is closed to others", dir)}
}

// tokenFiles are the directory of tokens and what is in it.
func tokenFiles(cfg *config.Config) []string {
	dir := tokenDir(cfg)
	names := []string{dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return names
	}
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

func (d *doctor) checkLedger(ctx context.Context) []finding {
	l, err := d.a.openLedger(ctx, d.cfg, true, d.a.logger(d.cfg))
	if err != nil {
		return []finding{failed(err)}
	}
	defer l.Close()
	counts, err := l.Counts(ctx)
	if err != nil {
		return []finding{failed(err)}
	}
	text := fmt.Sprintf("for %s, %d KiB", d.cfg.API.ID, (l.Size()+1023)/1024)
	switch err := l.Examine(ctx); {
	case err != nil && ctx.Err() != nil:
		text += "; not looked through, which takes longer than --timeout"
	case err != nil:
		return []finding{failed(err)}
	default:
		text += ", without damage"
	}
	waiting := 0
	for _, c := range counts {
		if waits(c.State) {
			waiting += c.Entries
		}
	}
	if waiting > 0 {
		text += "; " + waitFor(waiting, false) + ": tsupload status"
	}
	return []finding{fine("%s", text)}
}

func (d *doctor) checkSources(ctx context.Context) []finding {
	if len(d.cfg.Sources) == 0 {
		return []finding{warning("name one under sources; `tsupload inspect FILE` prints the lines for a file", "there is no source")}
	}
	var found []finding
	for i := range d.cfg.Sources {
		s := &d.cfg.Sources[i]
		var f finding
		switch {
		case s.CSV != nil:
			f = checkFilesOf(ctx, s.CSV.Path)
		case s.Exec != nil:
			f = checkProgram(s.Exec.Command[0], configDir(d.cfg))
		default:
			f = d.checkExport(ctx, s)
		}
		f.text = s.Name + ": " + f.text
		found = append(found, f)
	}
	return found
}

// checkFilesOf opens what a source reads. The names of files may be of people,
// and are not shown.
func checkFilesOf(ctx context.Context, glob string) finding {
	paths, err := filepath.Glob(glob)
	if err != nil {
		return failure(exitSource, "mend csv.path", "the pattern %s is not valid", glob)
	}
	if len(paths) == 0 {
		dir := filepath.Dir(glob)
		for strings.ContainsAny(dir, "*?[") {
			dir = filepath.Dir(dir)
		}
		if _, err := os.Stat(dir); err != nil {
			return failure(exitSource, "see csv.path, and that the directory is there (mounted?) and readable", "the directory of %s cannot be read", glob)
		}
		return warning("see csv.path; where files come and go this is as it should be", "no file matches %s", glob)
	}
	bad, why := 0, ""
	var newest time.Time
	for _, path := range paths {
		if ctx.Err() != nil {
			return failed(ctx.Err())
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() { // opening a pipe would wait for its writer
			var f *os.File
			if f, err = os.Open(path); err == nil {
				_ = f.Close()
			}
			if info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
		if pe := (*os.PathError)(nil); errors.As(err, &pe) {
			bad, why = bad+1, pe.Err.Error()
		}
	}
	if bad > 0 {
		return failure(exitSource, "make them readable for the user that runs tsupload", "%d of %s cannot be read: %s", bad, count(len(paths), "file"), why)
	}
	return fine("%s, the newest %s old", count(len(paths), "file"), age(time.Since(newest)))
}

func checkProgram(name, dir string) finding {
	path := name
	if strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		path = filepath.Join(dir, name)
	}
	if _, err := exec.LookPath(path); err != nil {
		return failure(exitSource, "name a program on the PATH of the user that runs tsupload, or its full path", "the program %s is not there, or cannot be run", name)
	}
	return fine("the program %s is there; not run", name)
}

// checkExport sees whether the credentials of an HTTP export are there. The
// export itself may be metered, and is what a dry run fetches.
func (d *doctor) checkExport(ctx context.Context, s *config.Source) finding {
	h, secrets := s.HTTP, d.a.resolver(tokencache.NewKeyring())
	refs := []config.SecretRef{h.Auth.Bearer, h.Auth.Token}
	if h.Auth.Header != nil {
		refs = append(refs, h.Auth.Header.Value)
	}
	if h.Auth.Basic != nil {
		refs = append(refs, h.Auth.Basic.Password)
	}
	if h.Auth.ClientCredentials != nil {
		refs = append(refs, h.Auth.ClientCredentials.ClientSecret, h.Auth.ClientCredentials.PrivateKey)
	}
	for _, v := range h.Headers {
		refs = append(refs, v.Secret)
	}
	for _, ref := range refs {
		if ref.IsZero() {
			continue
		}
		if _, err := secrets.Read(ctx, ref); err != nil {
			f := failed(err)
			f.exit = exitRefused
			return f
		}
	}
	return fine("its credentials are there; not asked: tsupload run --dry-run --source %s does", s.Name)
}

func (d *doctor) checkKeyring(context.Context) []finding {
	err := tokencache.NewKeyring().Available()
	a := &d.cfg.Auth
	switch {
	case err == nil:
		return []finding{fine("there is one")}
	case usesKeyring(d.cfg, d.a.getenv):
		return []finding{warning(hintOf(err), "none can be used: %s", err)}
	case a.As == "person" && a.TokenStore == "auto":
		return []finding{fine("none can be used, so the login is in a file that only this user can read")}
	}
	return []finding{fine("none here, and none is needed: credentials and tokens are in files")}
}

// usesKeyring tells whether something is looked for in the keyring alone.
func usesKeyring(cfg *config.Config, getenv func(string) string) bool {
	a := &cfg.Auth
	if a.TokenStore == "keyring" {
		return true
	}
	refs := []config.SecretRef{a.ClientSecret, a.PrivateKey, a.Assertion, cfg.Listen.Token, cfg.Notify.Ping}
	if slices.ContainsFunc(refs, func(r config.SecretRef) bool { return r.Keyring != "" }) {
		return true
	}
	elsewhere := getenv("CREDENTIALS_DIRECTORY") != "" || getenv("TSUPLOAD_CLIENT_SECRET") != ""
	return a.As == "machine" && a.ClientAuth() == "client_secret" && a.ClientSecret.IsZero() && !elsewhere
}

func (d *doctor) checkCredential(ctx context.Context) []finding {
	if d.cfg.Auth.As == "person" {
		return d.checkLogin(ctx)
	}
	c := d.a.lookAtCredential(ctx, d.cfg)
	if c.err != nil {
		f := failed(c.err)
		if errors.Is(c.err, context.DeadlineExceeded) {
			return []finding{f}
		}
		f.exit = exitRefused
		if c.from != "" {
			f.text = c.words() + " from " + c.from + ": " + strings.TrimPrefix(f.text, c.words()+": ")
		}
		return []finding{f}
	}
	return []finding{fine("%s from %s", c.words(), c.String())}
}

// checkLogin looks at the login of a person, and says nothing of who that is.
func (d *doctor) checkLogin(ctx context.Context) []finding {
	s := peekLogin(ctx, d.identity.cache)
	hint := "log in again with `tsupload auth login`"
	if file, ok := errors.AsType[*tokencache.FileError](s.problem); ok {
		hint = file.Hint()
	}
	switch {
	case s.problem != nil:
		return []finding{failure(exitRefused, hint, "the login cannot be read: %s", s.problem)}
	case !s.has:
		return []finding{failure(exitRefused, "log in with `tsupload auth login`", "nobody is logged in")}
	case !s.renewable:
		return []finding{warning("the authorization server gave no refresh token: see whether this client may have one", "a login that ends %s and cannot be prolonged", moment(s.accessEnds, time.Local))}
	}
	return []finding{fine("a login, renewed %s, kept in %s", moment(s.renewedAt, time.Local), place(s.where, s.why))}
}
