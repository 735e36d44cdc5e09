package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v4"
)

// maxFile is the most that is read of a configuration file.
const maxFile = 4 << 20

// LoadOptions is what Load depends on. It reads no environment and no working
// directory but these.
type LoadOptions struct {
	// Path is --config; empty: $TSUPLOAD_CONFIG, then the search path.
	Path string
	// Getenv looks up an environment variable; nil: there is none.
	Getenv func(string) string
	// Flags holds the flags that were given: dotted key -> text. The flag for
	// log.format is --log-format.
	Flags map[string]string
	// WorkDir is the working directory; empty: ".".
	WorkDir string
	// Home is the user's home directory; empty: none.
	Home string
	// SystemDir is where the machine's configuration lies; empty: /etc/tsupload.
	SystemDir string
	// Root says that the process is root's: state goes to /var/lib/tsupload.
	Root bool
	// ValidateSchedule refuses a bad schedule; nil: every schedule passes. Its
	// error may have a method Hint() string.
	ValidateSchedule func(expr, zone string) error
	// ValidateExport refuses what does not fit http.preset; nil: everything
	// passes. The error may have a hint.
	ValidateExport func(preset string, params map[string]string, url string) error
	// ValidateDateFormat refuses a bad date_format; nil: every one passes.
	ValidateDateFormat func(format string) error
	// ValidateTemplate refuses the template of a message; nil: every one passes.
	ValidateTemplate func(text string) error
}

func (o LoadOptions) getenv(name string) string {
	if o.Getenv == nil {
		return ""
	}
	return o.Getenv(name)
}

// FileName is the name of the configuration file on the search path.
const FileName = "tsupload.yaml"

// SearchPath lists the files that are tried when none is named, in order.
func (o LoadOptions) SearchPath() []string {
	dirs := []string{o.WorkDir}
	if d := o.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(d) {
		dirs = append(dirs, filepath.Join(d, "tsupload"))
	} else if o.Home != "" {
		dirs = append(dirs, filepath.Join(o.Home, ".config", "tsupload"))
	}
	switch {
	case runtime.GOOS == "darwin" && o.Home != "":
		dirs = append(dirs, filepath.Join(o.Home, "Library", "Application Support", "tsupload"))
	case runtime.GOOS == "windows" && o.getenv("APPDATA") != "":
		dirs = append(dirs, filepath.Join(o.getenv("APPDATA"), "tsupload"))
	}
	switch {
	case o.SystemDir != "":
		dirs = append(dirs, o.SystemDir)
	case runtime.GOOS == "windows":
		if d := o.getenv("PROGRAMDATA"); d != "" {
			dirs = append(dirs, filepath.Join(d, "tsupload"))
		}
	default:
		dirs = append(dirs, "/etc/tsupload")
	}
	files := make([]string, len(dirs))
	for i, d := range dirs {
		files[i] = filepath.Join(d, FileName)
	}
	return files
}

// Load reads the configuration. An error is always an *Error; without a file
// anywhere there is none, and File is empty.
//
// What only some commands need (an API to upload to, credentials) is not
// asked for here: see Config.ForUpload.
func Load(opts LoadOptions) (*Config, error) {
	l := &loader{opts: opts, cfg: Default(), bad: map[string]bool{}}
	l.cfg.origins = map[string]Origin{}
	data := l.read()
	root := l.parse(data)

	// Sources come last: their rules begin as the effective top-level ones.
	var sources *yaml.Node
	if root != nil {
		rest := *root
		root, sources = &rest, &yaml.Node{Kind: root.Kind, Tag: root.Tag, Line: root.Line, Column: root.Column}
		content := root.Content
		root.Content = nil
		for i := 0; i+1 < len(content); i += 2 {
			half := root
			if content[i].Value == "sources" {
				half = sources
			}
			half.Content = append(half.Content, content[i], content[i+1])
		}
		l.structure(root, reflect.ValueOf(l.cfg).Elem(), "")
	}
	l.environment()
	l.flags()
	if sources != nil {
		l.structure(sources, reflect.ValueOf(l.cfg).Elem(), "")
	}
	l.derive()
	l.validate()
	if len(l.faults) > 0 {
		return nil, &Error{Faults: sorted(l.faults)}
	}
	return l.cfg, nil
}

// read finds the file and reads it. A file that is named, or that is there,
// has to be readable.
func (l *loader) read() []byte {
	path, named := l.opts.Path, Origin{Flag: "config"}
	if path == "" {
		path, named = l.opts.getenv("TSUPLOAD_CONFIG"), Origin{Env: "TSUPLOAD_CONFIG"}
	}
	if path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(l.opts.WorkDir, path)
		}
		data, err := readFile(path)
		if err != nil {
			l.fault(named, "", reason(path, err), "name a file that exists and is readable")
			return nil
		}
		l.cfg.File = path
		return data
	}
	for _, path := range l.opts.SearchPath() {
		data, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			l.fault(Origin{File: path}, "", reason(path, err), "make it readable, or name another with --config")
			return nil
		}
		l.cfg.File = path
		return data
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("is larger than 4 MiB")
	}
	return data, err
}

func reason(path string, err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return path + ": " + err.Error()
}

// EnvName is the environment variable of a key outside sources.
func EnvName(key string) string {
	return "TSUPLOAD_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// FlagName is the flag of a key, where the command line has one.
func FlagName(key string) string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// settable calls fn for each value that environment and flags can set:
// scalars, and lists of scalars, outside sources.
func settable(c *Config, fn func(leaf)) {
	leaves(reflect.ValueOf(c).Elem(), "", "", func(lf leaf) {
		switch {
		case strings.HasPrefix(lf.key, "sources[") || lf.key == "sources" || inNotifyList(lf.key) || !lf.v.CanSet():
		case lf.v.Type() == typeSecretRef:
			for f, fv := range lf.v.Fields() {
				fn(leaf{join(lf.key, keyOf(f)), fv, f.Tag})
			}
		case lf.v.Type() == typeValue:
		default:
			fn(lf)
		}
	})
}

// inNotifyList tells whether key lies in a part of notify that may be there
// several times or not at all.
func inNotifyList(key string) bool {
	for _, list := range []string{"notify.webhooks", "notify.hook", "notify.silence"} {
		if rest, ok := strings.CutPrefix(key, list); ok && (rest == "" || rest[0] == '[' || rest[0] == '.') {
			return true
		}
	}
	return false
}

// EnvNames lists the environment variable of every key, with the key.
func EnvNames() map[string]string {
	names := map[string]string{}
	settable(Default(), func(lf leaf) { names[EnvName(lf.key)] = lf.key })
	return names
}

func (l *loader) environment() {
	settable(l.cfg, func(lf leaf) {
		if text := l.opts.getenv(EnvName(lf.key)); text != "" { // an empty variable is none
			l.set(lf, text, Origin{Env: EnvName(lf.key)})
		}
	})
	for key, hint := range map[string]string{
		"auth.client_secret": "the secret itself goes into TSUPLOAD_CLIENT_SECRET, a reference into ",
		"auth.private_key":   "a reference goes into ",
		"auth.assertion":     "a reference goes into ",
	} {
		if l.opts.getenv(EnvName(key)) != "" {
			l.fault(Origin{Env: EnvName(key)}, key, "is not read", hint+EnvName(key)+"_FILE and the like")
		}
	}
}

func (l *loader) flags() {
	left := map[string]bool{}
	for key := range l.opts.Flags {
		left[key] = true
	}
	settable(l.cfg, func(lf leaf) {
		if text, ok := l.opts.Flags[lf.key]; ok {
			delete(left, lf.key)
			l.set(lf, text, Origin{Flag: FlagName(lf.key)})
		}
	})
	for key := range left {
		l.fault(Origin{Flag: FlagName(key)}, key, "is not a key that a flag can set", "")
	}
}

// set reads text from the environment or a flag into a value. What is wrong in
// the file stays wrong, even where it is overruled: the next start may lack the
// variable.
func (l *loader) set(lf leaf, text string, o Origin) {
	for parent, ref := range map[string]*SecretRef{
		"auth.client_secret": &l.cfg.Auth.ClientSecret, "auth.private_key": &l.cfg.Auth.PrivateKey, "auth.assertion": &l.cfg.Auth.Assertion,
		"listen.token": &l.cfg.Listen.Token, "notify.ping": &l.cfg.Notify.Ping,
	} {
		if !strings.HasPrefix(lf.key, parent+".") {
			continue
		}
		// Another reference replaces the one of the layer below instead of
		// joining it.
		if prev := l.cfg.origins[parent]; (prev.Env != "") != (o.Env != "") || prev.Flag != "" != (o.Flag != "") {
			*ref = SecretRef{}
		}
		l.cfg.origins[parent] = o
	}
	l.cfg.origins[lf.key] = o
	if lf.v.Kind() != reflect.Slice {
		if p := l.setText(lf.v, lf.tag, text, l.opts.WorkDir); p != nil {
			l.overrule(o, lf.key, *p)
		}
		return
	}
	items := strings.Split(text, ",")
	v := reflect.MakeSlice(lf.v.Type(), 0, len(items))
	for _, item := range items {
		elem := reflect.New(lf.v.Type().Elem()).Elem()
		if p := setScalar(elem, lf.tag, strings.TrimSpace(item)); p != nil {
			l.overrule(o, lf.key, *p)
			return
		}
		v = reflect.Append(v, elem)
	}
	lf.v.Set(v)
}

// overrule reports a fault of the environment or a flag, also where the file
// has one at the same key.
func (l *loader) overrule(o Origin, key string, p problem) {
	l.bad[key] = false
	l.fault(o, key, p.message, p.hint)
}

// setText is setScalar, with paths made relative to where they were written:
// the daemon may run in another directory than the person who tried the file.
func (l *loader) setText(v reflect.Value, tag reflect.StructTag, text, base string) *problem {
	p := setScalar(v, tag, text)
	if c := tag.Get("check"); p != nil || text == "" || c != "path" && c != "glob" && c != "prom" {
		return p
	}
	switch rest, home := strings.CutPrefix(text, "~/"); {
	case home && l.opts.Home != "":
		text, base = rest, l.opts.Home
	case filepath.IsAbs(text) || strings.HasPrefix(text, "/"):
		return nil
	}
	if tag.Get("check") == "glob" && runtime.GOOS != "windows" {
		base = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(base)
	}
	v.SetString(filepath.Join(base, text))
	return nil
}
