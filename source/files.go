package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settleUnended is how long a dropped file without a final newline must have
// been quiet: nothing else tells a last line cut off from a whole one.
const settleUnended = 10 * time.Minute

// unit is one open file, or one spooled export, of a Reading.
type unit struct {
	name  string // as shown
	f     *os.File
	spool bool  // ours, to be removed
	gone  bool  // already removed
	json  bool  // records of a JSON export, counted instead of lines; the last column is ours
	made  *made // what is read in its place; nil: the file itself
	lines []int // at which rows are shown, in the place of their own
	stamp stamp
	ended bool // with a newline

	sum    [32]byte
	hashed bool
	form   *form // set by the survey
	rows   int
}

// stamp is what changes when somebody writes to a file.
type stamp struct {
	size  int64
	mtime time.Time
	inode uint64
}

func stampOf(f *os.File) (stamp, fs.FileMode, error) {
	fi, err := f.Stat()
	if err != nil {
		return stamp{}, 0, err
	}
	return stamp{fi.Size(), fi.ModTime(), inode(fi)}, fi.Mode(), nil
}

// opener is how a file is opened, such as os.OpenFile.
type opener func(path string, flag int, perm fs.FileMode) (*os.File, error)

// inside opens what is below dir only, links in the way included.
func inside(dir *os.Root) opener {
	return func(path string, flag int, perm fs.FileMode) (*os.File, error) {
		rel, err := filepath.Rel(dir.Name(), path)
		if err != nil {
			return nil, err
		}
		return dir.OpenFile(rel, flag, perm)
	}
}

// openRegular opens path for reading, if it is a regular file and no link to
// one. What it is, is asked of the open descriptor. name is shown for it.
func openRegular(path, name string, open opener) (*unit, error) {
	link := false
	if fi, err := os.Lstat(path); err == nil {
		link = fi.Mode()&fs.ModeSymlink != 0
	}
	f, err := open(path, openFlags, 0)
	if link || isLink(err) {
		if f != nil {
			_ = f.Close()
		}
		return nil, &Error{File: name, Message: "this is a symbolic link", HintText: "name the file that it points to"}
	}
	if err != nil {
		e := &Error{File: name, Message: "cannot be opened", HintText: "check the path, and what it leads through", Err: errors.Unwrap(err)}
		if errors.Is(err, fs.ErrNotExist) {
			e.Message, e.Err, e.HintText = "no such file", nil, "check the path, and the directory it is relative to"
		}
		if errors.Is(err, fs.ErrPermission) {
			e.HintText = "the user that tsupload runs as must be able to read it"
		}
		return nil, e
	}
	u := &unit{name: name, f: f}
	var mode fs.FileMode
	if u.stamp, mode, err = stampOf(f); err == nil && !mode.IsRegular() {
		err = &Error{File: name, Message: "this is no regular file but a " + kind(mode), HintText: "name a file; - reads standard input"}
	}
	if err == nil {
		err = u.end()
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return u, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	default:
		return "device"
	}
}

// end finds out whether the file is whole as far as its end tells.
func (u *unit) end() (err error) {
	head, err := headOf(u.f, u.stamp.size, formHead)
	if err != nil {
		return err
	}
	if u.ended = wholeByForm(head); !u.ended {
		u.ended, err = endsWithNewline(u.f, u.stamp.size)
	}
	return err
}

// endsWithNewline knows LF in UTF-8 and both kinds of UTF-16.
func endsWithNewline(f *os.File, size int64) (bool, error) {
	var last [2]byte
	if size < 2 {
		return false, nil
	}
	if _, err := f.ReadAt(last[:], size-2); err != nil {
		if err == io.EOF {
			return false, nil
		}
		return false, err
	}
	return last[1] == '\n' || last == [2]byte{'\n', 0}, nil
}

func (r *Reading) openFiles(ctx context.Context) error {
	for _, path := range r.s.cfg.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := r.s.as(path)
		u, err := openRegular(path, name, os.OpenFile)
		if err != nil {
			return r.s.place(name, err)
		}
		u.lines = r.s.cfg.Lines[path]
		r.add(u)
	}
	return nil
}

// as is the name under which path is shown.
func (s *Source) as(path string) string {
	if name, ok := s.cfg.As[path]; ok {
		return name
	}
	return path
}

// add takes u into the Reading; a file without its last newline may be cut.
func (r *Reading) add(u *unit) {
	r.units = append(r.units, u)
	if !u.ended && u.stamp.size > 0 && !u.json {
		r.cutNote(u)
	}
}

func (r *Reading) cutNote(u *unit) {
	r.partial = true
	r.note("%s does not end with a newline: its last row may be cut off", u.name)
}

func (r *Reading) note(format string, args ...any) {
	// A file that is read again says the same again.
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

func (r *Reading) openGlob(ctx context.Context) error {
	cfg := &r.s.cfg
	paths, err := filepath.Glob(cfg.Glob)
	if err != nil {
		return r.s.fault("csv.path: "+quote(cfg.Glob)+" is not a valid pattern", "")
	}
	pattern := strings.ContainsAny(cfg.Glob, "*?[")
	if len(paths) == 0 && !pattern {
		paths = []string{cfg.Glob} // for its error
	}
	if len(paths) == 0 {
		r.note("no file matches %s", cfg.Glob)
		if _, err := os.Stat(root(cfg.Glob)); err != nil {
			return &Error{
				Source: cfg.Name, File: root(cfg.Glob), Message: "the directory to look for files in cannot be read",
				HintText: "check csv.path, and that the directory is mounted", Err: errors.Unwrap(err),
			}
		}
	}
	slices.Sort(paths)
	if len(paths) > cfg.Limits.Files {
		return r.s.fault(fmt.Sprintf("%d files match %s; at most %d can be read", len(paths), cfg.Glob, cfg.Limits.Files), "move old exports elsewhere: their entries are known")
	}
	open := os.OpenFile
	if pattern && len(paths) > 0 {
		// Who may put files there may put links there too. They must not have
		// other people's hours read as those of this source.
		dir, err := os.OpenRoot(root(cfg.Glob))
		if err != nil {
			return r.s.place(root(cfg.Glob), err)
		}
		defer dir.Close()
		open = inside(dir)
	}
	now := time.Now()
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := r.s.as(path)
		u, err := openRegular(path, name, open)
		if err != nil {
			return r.s.place(name, err)
		}
		settle := cfg.SettleFile
		if !u.ended {
			settle = max(settle, settleUnended)
		}
		if quiet := now.Sub(u.stamp.mtime); quiet < settle {
			r.partial = true
			why := ""
			if !u.ended {
				why = ", as it does not end with a newline"
			}
			r.note("%s is left for the next run: it changed %s ago and counts once it has been quiet for %s%s",
				name, max(quiet, 0).Round(time.Second), settle, why)
			if err := u.f.Close(); err != nil {
				return r.s.place(name, err)
			}
			continue
		}
		u.lines = r.s.cfg.Lines[path]
		r.add(u)
	}
	return nil
}

// root is the directory of a pattern up to its first wildcard.
func root(pattern string) string {
	dir := pattern
	for strings.ContainsAny(dir, "*?[") {
		dir = filepath.Dir(dir)
	}
	return dir
}

func (r *Reading) openStdin(ctx context.Context) error {
	u, err := newSpool(r.s.cfg.SpoolDir, "-")
	if err != nil {
		return r.s.place("-", err)
	}
	r.units = append(r.units, u)
	n, err := io.Copy(u.f, io.LimitReader(ctxReader{ctx, r.s.cfg.Stdin}, r.s.cfg.Limits.File+1))
	if err != nil {
		return r.s.place("-", err)
	}
	if n > r.s.cfg.Limits.File {
		return r.s.place("-", &Error{Message: fmt.Sprintf("standard input is longer than %d bytes", r.s.cfg.Limits.File), HintText: "split the export by month or by person"})
	}
	// Whoever wrote to the pipe may have died half way.
	r.partial = true
	return r.s.place("-", u.seal())
}

// ctxReader stops reading when the context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// newSpool makes a file, of mode 0600, that is removed with the Reading.
func newSpool(dir, name string) (*unit, error) {
	f, err := os.CreateTemp(dir, "spool-*")
	if err != nil {
		return nil, err
	}
	// Where an open file can be removed, no crash leaves it behind.
	gone := os.Remove(f.Name()) == nil
	return &unit{name: name, f: f, spool: true, gone: gone}, nil
}

// seal ends the writing to a spool.
func (u *unit) seal() (err error) {
	if u.stamp, _, err = stampOf(u.f); err != nil {
		return err
	}
	return u.end()
}

func (u *unit) close() error {
	err := errors.Join(u.unmake(), u.f.Close())
	if u.spool && !u.gone {
		err = errors.Join(err, os.Remove(u.f.Name()))
	}
	return err
}

// changed tells whether somebody wrote to the file since it was opened.
func (u *unit) changed() error {
	now, _, err := stampOf(u.f)
	if err != nil {
		return err
	}
	if now != u.stamp {
		return &Error{Message: "the file changed while it was read", HintText: "run again once it is complete; producers should write elsewhere and rename"}
	}
	return nil
}
