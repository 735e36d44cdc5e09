package source

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func anonymous(tb testing.TB, content []byte) ([]byte, error) {
	tb.Helper()
	return anonymousAs(tb, Config{}, content)
}

func anonymousAs(tb testing.TB, cfg Config, content []byte) ([]byte, error) {
	tb.Helper()
	cfg.Rules.Future = FutureAllow
	cfg.Name, cfg.Location, cfg.Stdin, cfg.SpoolDir = "test", time.UTC, bytes.NewReader(content), tb.TempDir()
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := s.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	err = r.Anonymize(tb.Context(), &b)
	return b.Bytes(), err
}

// A twin is read as its original is: as many rows, seconds and rejections on
// the same lines, and the same decisions.
func TestAnonymizedReadsAlike(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"*.csv", "bad/*.csv", "presets/*.csv", "presets/*.tsv", "presets/*.json", "presets/*.ics", "xlsx/*.xlsx"} {
		files, err := filepath.Glob(exports + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				user := map[bool]string{true: "u"}[strings.Contains(file, "/presets/")]
				asRead := Config{User: user}
				if strings.HasSuffix(file, "start-end.csv") || strings.HasSuffix(file, "german.xlsx") {
					asRead = Config{Columns: Guess([]string{"Mitarbeiter", "Projekt", "Datum", "Von", "Bis", "Dauer", "Stunden"})}
				}
				if strings.HasSuffix(file, "german.xlsx") {
					asRead = Config{Columns: map[string]string{"user": "Wer", "date": "Tag", "hours": "Std", "project": "Projekt"}}
				}
				twin := alike(t, asRead, content)
				if strings.Contains(file, "/presets/") && (twin == nil || len(twin) != len(content) && !strings.Contains(file, "short-days") && !strings.Contains(file, "clockify-")) {
					t.Errorf("got %d bytes, want %d", len(twin), len(content))
				}
				words := slices.DeleteFunc([]string{"ada", "byron", "bob", "night", "cart", "acme", "website"}, func(w string) bool {
					return survives(string(content), []string{w}) == "" // else it comes out by chance
				})
				if left := survives(string(twin), words); left != "" && strings.Contains(file, "/presets/") {
					t.Errorf("%q survives in\n%.1500s", left, twin)
				}
			})
		}
	}
}

// alike asserts that a twin is read as content is. A row that lost its meaning
// by chance is made anew.
func alike(tb testing.TB, asRead Config, content []byte) (twin []byte) {
	tb.Helper()
	why := ""
	for range 5 {
		var err error
		if twin, err = anonymousAs(tb, asRead, content); err != nil {
			return nil // what has no header has no twin
		}
		if why = unlike(tb, asRead, content, twin); why == "" {
			return twin
		}
	}
	tb.Errorf("%s\n%.1500s", why, twin)
	return twin
}

func unlike(tb testing.TB, asRead Config, content, twin []byte) string {
	tb.Helper()
	cfg, other := asRead, asRead
	cfg.Stdin, other.Stdin = bytes.NewReader(content), bytes.NewReader(twin)
	want, wantErr := read(tb, cfg)
	got, gotErr := read(tb, other)
	if (gotErr == nil) != (wantErr == nil) {
		return fmt.Sprintf("got %v, want %v", gotErr, wantErr)
	}
	if gotErr != nil {
		return ""
	}
	if got.seconds() != want.seconds() || len(got.entries) != len(want.entries) || len(got.skipped) != len(want.skipped) || len(got.rejected) != len(want.rejected) {
		return fmt.Sprintf("got %d s in %d entries, %d skipped, %d rejected; want %d, %d, %d, %d", got.seconds(), len(got.entries), len(got.skipped), len(got.rejected),
			want.seconds(), len(want.entries), len(want.skipped), len(want.rejected))
	}
	for i := range got.rejected {
		if g, w := got.rejected[i], want.rejected[i]; g.Origin != w.Origin || g.Reason != w.Reason {
			return fmt.Sprintf("got %+v, want %+v", g, w)
		}
	}
	short := got.decision("days") != "" // of no year
	for i := range got.entries {
		g, w := got.entries[i], want.entries[i]
		if short && g.Duration == w.Duration && g.Day.Time().Weekday() == w.Day.Time().Weekday() {
			continue
		}
		if g.Duration != w.Duration || (g.Day-w.Day)%7 != 0 || g.Day-w.Day != got.entries[0].Day-want.entries[0].Day || g.Origin.Line != w.Origin.Line {
			return fmt.Sprintf("got %v on %s, want %v on %s", g.Duration, g.Day, w.Duration, w.Day)
		}
		if g.Day == w.Day {
			return "the days are as they were"
		}
	}
	for _, what := range []string{"form", "packed", "encoding", "delimiter", "date order", "clock", "decimal sign", "tracker"} {
		g, w := got.decision(what), want.decision(what)
		g, _, _ = strings.Cut(g, " :")
		w, _, _ = strings.Cut(w, " :")
		if g != w && what != "form" {
			return fmt.Sprintf("got %s %q, want %q", what, g, w)
		}
	}
	return ""
}

func TestAnonymizeHidesEverything(t *testing.T) {
	t.Parallel()
	const original = "Report of Ada Byron, 47\r\n" +
		"\r\n" +
		"User;Email;Date;Start;End;Duration;Hours;Project;Notes;Rate;Billable\r\n" +
		"Ada Byron;ada@example.test;02.03.2026;09:00;10:30;1:30;1,50;Zürich;\"Called \"\"Eve\"\" on 2026-03-01\r\nat +41 44 123 45 67\";95,50;Yes\r\n" +
		"Ada Byron;ada@example.test;02.03.2026;9:00 AM;;;;Łódź 東京;=HYPERLINK(A1);100;No"
	b, err := anonymous(t, []byte(original))
	if err != nil {
		t.Fatal(err)
	}
	twin := string(b)
	for _, personal := range []string{"Ada Byron", "Byron", "ada@", "example", "02.03.2026", "2026-03-01", "Zürich", "Called", "41 44 123 45 67", "Łódź", "東京", "HYPERLINK", "Report", "95,50", ";100;"} {
		if strings.Contains(twin, personal) {
			t.Errorf("%q is still there:\n%s", personal, twin)
		}
	}
	for _, kept := range []string{"\r\n\r\nUser;Email;Date;Start;End;Duration;Hours;Project;Notes;Rate;Billable\r\n", ";09:00;10:30;1:30;1,50;", ";Yes\r\n", ";9:00 AM;;;;", ";No"} {
		if !strings.Contains(twin, kept) {
			t.Errorf("%q is gone:\n%s", kept, twin)
		}
	}
	if len(twin) != len(original) || strings.Count(twin, `"`) != strings.Count(original, `"`) {
		t.Errorf("got %d bytes, want %d:\n%s", len(twin), len(original), twin)
	}
	lines := strings.Split(twin, "\r\n")
	if name, _, _ := strings.Cut(lines[3], ";"); !strings.HasPrefix(lines[5], name+";") {
		t.Errorf("equal names have become different ones:\n%s", twin)
	}
	if again, _ := anonymous(t, []byte(original)); bytes.Equal(again, b) {
		t.Error("two twins are alike: their letters can be found by trying")
	}
}

// personal are the tokens of cells that nothing of may survive.
func personal(cells ...string) (tokens []string) {
	for _, c := range cells {
		eachToken(c, func(t string) bool {
			tokens = append(tokens, t)
			return true
		})
	}
	return tokens
}

// survives tells which of the tokens is one of text's as well.
func survives(text string, tokens []string) string {
	there := map[string]bool{}
	eachToken(text, func(t string) bool { there[t] = true; return true })
	for _, t := range tokens {
		if there[t] {
			return t
		}
	}
	return ""
}

// planted is a value for every column, of which nothing may survive.
func planted(column string) string {
	column = "xq" + strings.ReplaceAll(strings.ToLower(column), " ", "")
	return "Canary " + column + " ÄÖß 0815-4711 zaphod@" + column + ".example"
}

func TestAnonymizeCanaries(t *testing.T) {
	t.Parallel()
	clients := []string{"Client", "Company", "Description", "Task", "Group", "Tags", "Deal ID", "Custom"}
	header := append([]string{"Project", "User", "Email", "Start Date", "Start Time", "End Date", "End Time", "Duration (h)"}, clients...)
	row := []string{planted("Project"), planted("User"), planted("Email"), "2026-03-02", "09:00:00", "2026-03-02", "10:30:00", "01:30:00"}
	for _, c := range clients {
		row = append(row, planted(c))
	}
	file := strings.Join(header, ";") + "\n" + strings.Join(row, ";") + "\n" + strings.Join(row, ";") + "\n"
	tokens := personal(append(row[:3:3], row[8:]...)...)
	// Every column by itself: also those of dates and lengths may hold anything.
	for i := range header {
		odd := append([]string{}, row...)
		odd[i] = "SECRETWORD987654"
		file += strings.Join(odd, ";") + "\n"
	}
	tokens = append(tokens, "secretword987654")
	narrow, err := charmap.Windows1252.NewEncoder().String(file)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Name, z.Comment = "canary-name.csv", "canary comment"
	_, _ = io.WriteString(z, file)
	_ = z.Close()
	object := map[string]any{}
	for i, h := range header {
		object[strings.ReplaceAll(h, " ", "_")] = row[i]
	}
	one, err := json.Marshal(map[string]any{"user": planted("u"), "start": "2026-03-02T09:00:00+01:00", "end": "2026-03-02T10:30:00+01:00", "project": planted("p"), "id": 81547110815, "amount": 47110815.5, "more": object, "list": []any{planted("l"), 47110815}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		tokens  []string
	}{
		"utf-8":        {[]byte(file), tokens},
		"windows-1252": {[]byte(narrow), nil},
		"gzip":         {packed.Bytes(), tokens},
		"ical": {
			[]byte("BEGIN:VCALENDAR\r\nX-WR-CALNAME:" + planted("name") + "\r\nBEGIN:VEVENT\r\nUID:" + planted("uid") + "\r\nDTSTART:20260302T080000Z\r\nDTEND:20260302T093000Z\r\n" +
				"SUMMARY;X-P=\"" + planted("param") + "\":" + planted("summary") + "\\nand \r\n folded" + planted("folded") + "\r\nORGANIZER;CN=Canary:mailto:zaphod@canary.example\r\nATTENDEE;CN=\"" + planted("cn") + "\";ROLE=CHAIR:mailto:xqattendee@canary.example\r\nend of canary line\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"),
			append(personal(planted("name"), planted("uid"), planted("param"), planted("summary"), planted("folded"), planted("cn")), "xqattendee"),
		},
		"json":   {[]byte("[\n  " + string(one) + ",\n  " + string(one) + "\n]\n"), append(personal(planted("u"), planted("p"), planted("l")), "81547110815", "47110815")},
		"ndjson": {[]byte(string(one) + "\n" + string(one) + "\n{broken " + planted("x") + "\n"), append(personal(planted("u"), planted("x")), "47110815")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			twin := alike(t, Config{}, c.content)
			if twin == nil {
				t.Fatal("there is no twin")
			}
			if name == "gzip" {
				z, err := gzip.NewReader(bytes.NewReader(twin))
				if err != nil {
					t.Fatal(err)
				}
				if z.Name != "" || z.Comment != "" {
					t.Errorf("got name %q, comment %q", z.Name, z.Comment)
				}
				if twin, err = io.ReadAll(z); err != nil {
					t.Fatal(err)
				}
			} else if len(twin) != len(c.content) {
				t.Errorf("got %d bytes, want %d", len(twin), len(c.content))
			}
			if left := survives(string(twin), c.tokens); left != "" {
				t.Errorf("%q survives in\n%.1500s", left, twin)
			}
			if name == "windows-1252" && bytes.ContainsAny(twin, "\xc4\xd6\xdf") && survives(string(twin), []string{"canary", "zaphod", "secretword987654"}) != "" {
				t.Errorf("something survives in\n%s", twin)
			}
		})
	}
}

// A workbook with a column for each day has a twin too: of another week, with
// the same hours in the same cells.
func TestAnonymizePivotedWorkbook(t *testing.T) {
	t.Parallel()
	original, err := os.ReadFile(exports + "xlsx/hubstaff.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	in, err := zip.NewReader(bytes.NewReader(original), int64(len(original)))
	if err != nil {
		t.Fatal(err)
	}
	// The days as texts, without a year.
	var short bytes.Buffer
	out := zip.NewWriter(&short)
	for _, f := range in.File {
		b := part(t, f)
		if strings.HasPrefix(f.Name, "xl/worksheets/") {
			for i, day := range []string{"Sun 3/1", "Mon 3/2", "Tue 3/3", "Wed 3/4", "Thu 3/5", "Fri 3/6", "Sat 3/7"} {
				cell := regexp.MustCompile(fmt.Sprintf(`<c r="%c3"[^>]*>.*?</c>`, 'L'+i))
				b = cell.ReplaceAll(b, fmt.Appendf(nil, `<c r="%c3" t="inlineStr"><is><t>%s</t></is></c>`, 'L'+i, day))
			}
		}
		put(t, out, f.Name, b)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"dates": original, "texts": short.Bytes(), "packed": gzipped(t, original)} {
		twin, err := anonymous(t, content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if why := unlike(t, Config{}, content, twin); why != "" {
			t.Errorf("%s: %s", name, why)
		}
		cfg, other := bytesOf(content), bytesOf(twin)
		cfg.Defaults, other.Defaults = Defaults{Project: "P"}, Defaults{Project: "P"}
		was, is := must(t, cfg), must(t, other)
		if was.decision("days") == is.decision("days") || len(is.entries) != 3 {
			t.Errorf("%s: the days were %s, and are %s", name, was.decision("days"), is.decision("days"))
		}
		for i, e := range is.entries {
			if o := was.entries[i]; e.Duration != o.Duration || e.Origin != o.Origin || (e.Day-o.Day)%7 != 0 {
				t.Errorf("%s: got %s of %s at %s, want %s at %s", name, e.Duration.Clock(), e.Day, e.Origin, o.Duration.Clock(), o.Origin)
			}
		}
		all := ""
		if name != "packed" {
			z, err := zip.NewReader(bytes.NewReader(twin), int64(len(twin)))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range z.File {
				all += string(part(t, f))
			}
		}
		if left := survives(all, []string{"ada", "byron", "night", "wrong", "acme", "example"}); left != "" {
			t.Errorf("%s: %q survives", name, left)
		}
	}
}

// A workbook has room for names in many places: none of them goes along.
func TestAnonymizeWorkbook(t *testing.T) {
	t.Parallel()
	original, err := os.ReadFile(exports + "xlsx/hours.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	in, err := zip.NewReader(bytes.NewReader(original), int64(len(original)))
	if err != nil {
		t.Fatal(err)
	}
	var book bytes.Buffer
	out := zip.NewWriter(&book)
	if err := out.SetComment("canary in the archive"); err != nil {
		t.Fatal(err)
	}
	for _, f := range in.File {
		b := part(t, f)
		switch f.Name {
		case "xl/workbook.xml":
			b = bytes.Replace(b, []byte("</sheets>"), []byte(`</sheets><definedNames><definedName name="canary_name">'Canary'!A1</definedName></definedNames>`), 1)
		case "xl/styles.xml":
			b = bytes.ReplaceAll(b, []byte(`formatCode="`), []byte(`formatCode="&quot;canary&quot;`))
		}
		if strings.HasPrefix(f.Name, "xl/worksheets/") {
			b = bytes.Replace(b, []byte("</sheetData>"), []byte(`<row r="900"><c r="A900" t="inlineStr"><is><t>canary inline</t><rPh><t>canary phonetic</t></rPh></is></c><c r="B900" t="str"><f>"canary"&amp;A1</f><v>canary formula</v></c></row></sheetData><headerFooter><oddHeader>canary header</oddHeader></headerFooter>`), 1)
		}
		if f.Name == "docProps/core.xml" {
			continue
		}
		put(t, out, f.Name, b)
	}
	put(t, out, "docProps/core.xml", []byte("<p>canary author</p>"))
	put(t, out, "docProps/custom.xml", []byte("<p>canary custom</p>"))
	put(t, out, "xl/comments1.xml", []byte("<comments><author>canary commenter</author></comments>"))
	put(t, out, "xl/externalLinks/externalLink1.xml", []byte("<p>canary link</p>"))
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	twin, err := anonymous(t, book.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if why := unlike(t, Config{}, book.Bytes(), twin); why != "" {
		t.Error(why)
	}
	z, err := zip.NewReader(bytes.NewReader(twin), int64(len(twin)))
	if err != nil {
		t.Fatal(err)
	}
	all := z.Comment
	for _, f := range z.File {
		all += f.Name + " " + f.Comment + " " + string(part(t, f)) + "\n"
	}
	res := must(t, bytesOf(original))
	tokens := []string{"canary"}
	for _, e := range res.entries {
		tokens = append(tokens, personal(e.Person, e.Project, e.Notes)...)
	}
	if left := survives(strings.ReplaceAll(all, "_", " "), tokens); left != "" || len(tokens) < 5 {
		t.Errorf("%q of %d survives in\n%s", left, len(tokens), all)
	}
}

func part(tb testing.TB, f *zip.File) []byte {
	tb.Helper()
	r, err := f.Open()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func put(tb testing.TB, z *zip.Writer, name string, b []byte) {
	tb.Helper()
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Dates keep their day of the week, their order and their distance, what told
// day from month goes on telling it, and as many as can stay in summer time.
func TestDayMove(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	today := timesheet.Date(2026, time.November, 28)
	noon := func(d timesheet.Day) time.Time {
		y, m, day := d.Time().Date()
		return time.Date(y, m, day, 12, 0, 0, 0, berlin)
	}
	offsets := map[timesheet.Day]bool{}
	for range 30 {
		d := dayMove{zone: berlin, today: today, seen: map[timesheet.Day]struct{}{}, plain: map[timesheet.Day]struct{}{}}
		texts := []string{"02.03.2026", "28.03.2026", "29.03.2026", "1.6.2026", "13.11.2026", "2026-11-13T09:00:00+01:00", "20261113T080000Z", "13.11.26"}
		for _, s := range texts {
			d.move(s, true)
		}
		d.choose()
		offsets[d.by] = true
		if d.by%7 != 0 || d.by == 0 {
			t.Fatalf("moved by %d days", d.by)
		}
		for at := range d.seen {
			was, is := noon(at), noon(d.to(at))
			if was.Weekday() != is.Weekday() || was.IsDST() != is.IsDST() {
				t.Errorf("%s became %s", was, is)
			}
		}
		for _, s := range texts {
			moved := d.move(s, false)
			if moved == s || letterMask(moved) != letterMask(s) && !strings.HasPrefix(s, "1.6.") {
				t.Errorf("%q became %q", s, moved)
			}
		}
		if got := d.move("30.02.2026", false); got == "30.02.2026" || !strings.HasPrefix(got, "30.02.") {
			t.Errorf("got %q", got)
		}
	}
	if len(offsets) < 3 {
		t.Errorf("30 twins were moved in only %d ways", len(offsets))
	}
	// Where nothing tells the order, nothing tells it afterwards.
	for range 20 {
		d := dayMove{zone: berlin, today: today, seen: map[timesheet.Day]struct{}{}, plain: map[timesheet.Day]struct{}{}}
		for _, s := range []string{"02/03/2026", "03/03/2026", "05/03/2026"} {
			d.move(s, true)
		}
		d.choose()
		for at := range d.seen {
			if day := d.to(at).Time().Day(); day > 12 {
				t.Errorf("%s became %s", at, d.to(at))
			}
		}
	}
}

// letterMask keeps the shape of a text.
func letterMask(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return '9'
		}
		return r
	}, s)
}

var theDay = regexp.MustCompile(`;\d{4}-\d{2}-\d{2};09:00;`)

func FuzzAnonymize(f *testing.F) {
	f.Add("Ada Byron", "Fix cart, part 2", "ada@example.test", "95.50")
	f.Add("Żółć", "a b", "=1+1", "'-2")
	f.Add("abc abc", "bcd\nabc", "ab", "")
	f.Add("12345", "2026-03-02", "09:00", "yes")
	f.Add("６７８", "e\u0301e\u0301e\u0301", "\u202eabc", "x\ty")
	f.Fuzz(func(t *testing.T, user, notes, project, client string) {
		for _, s := range []string{user, notes, project, client} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r") || len(s) > 200 || strings.TrimSpace(s) == "" {
				t.Skip("no value of a cell")
			}
		}
		quoted := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		file := "user;date;start;end;project;notes;client\n"
		for range 2 {
			file += strings.Join([]string{quoted(user), "2026-03-02", "09:00", "10:30", quoted(project), quoted(notes), quoted(client)}, ";") + "\n"
		}
		twin, err := anonymous(t, []byte(file))
		if err != nil {
			return
		}
		// Where a day was moved to is no word of the twin.
		body := theDay.ReplaceAllString(strings.SplitN(string(twin), "\n", 2)[1], ";;09:00;")
		if len(personal(user, notes, project, client)) > 20 {
			return // the words of so many can come up again by chance
		}
		if left := survives(body, personal(user, notes, project, client)); left != "" && isWord(left) {
			t.Errorf("%q of %q survives in %q", left, file, body)
		}
		if strings.Count(string(twin), "\n") != strings.Count(file, "\n") || strings.Count(string(twin), `"`) != strings.Count(file, `"`) {
			t.Errorf("%q became %q", file, twin)
		}
	})
}

// isWord tells whether a token is in letters or digits of which there are
// enough to replace each by another.
func isWord(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r >= utf8.RuneSelf }) && strings.Trim(token, "0") != ""
}

// A short text is no word of the file by chance either, though it is shifted by
// its places alone.
func TestShortTextsAreNew(t *testing.T) {
	t.Parallel()
	for range 50 {
		m, err := newMask()
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for range 60 {
			words = append(words, string([]byte{'a' + byte(rand.IntN(26)), 'a' + byte(rand.IntN(26)), 'a' + byte(rand.IntN(26))}))
		}
		for _, w := range words {
			m.text(w)
		}
		m.chooseShift()
		m.collect = false
		clear(m.known)
		for _, w := range words {
			if out := m.text(w); slices.Contains(words, out) {
				t.Errorf("%q became %q, which is there as well", w, out)
			}
		}
	}
}
