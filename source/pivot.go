package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Some exports have a column for each day and a row for each person. Of these a
// table is made that has a row for each cell with hours in it, of which the line
// and the column are remembered.

// The columns of ours in the table that is made.
const (
	dayColumn  = "Day"
	cellColumn = "Time of the day"
)

// pivot is the header of such an export.
type pivot struct {
	marks   [][]string // as preset.marks
	persons []string   // columns of which one says whose row it is
	total   string     // column with the sum of a row's days
}

// dayCell is a column that is a day.
type dayCell struct {
	at  int
	day timesheet.Day
}

var shortDay = regexp.MustCompile(`^(mon|tue|wed|thu|fri|sat|sun),? (\d{1,2})/(\d{1,2})$`)

// unpivot makes the table where u, or what was made of it, is such an export.
func (r *Reading) unpivot(ctx context.Context, u *unit, m *made) error {
	lay := &r.s.layout
	if lay.mapped || lay.preset != nil && lay.preset.pivoted == nil {
		return nil
	}
	if m.table {
		l := *lay
		l.delim, l.encoding = ',', utf8Name
		lay = &l
	}
	head, err := headOf(m.f, m.size, headSize)
	if err != nil {
		return err
	}
	cs, err := sniff(head, lay.encoding)
	if err != nil {
		return nil //nolint:nilerr // the survey says so
	}
	text, err := io.ReadAll(cs.decode(strings.NewReader(string(head[cs.bom:]))))
	if err != nil {
		return err
	}
	var t *table
	for i := range r.s.presets {
		if l := r.s.presets[i]; l.preset.pivoted != nil {
			l.delim = lay.delim
			if found, err := l.findMarked(text, &r.s.cfg.Limits); err == nil && found.pivoted {
				t = found
				break
			}
		}
	}
	if t == nil {
		return nil
	}
	p := &pivoting{r: r, u: u, m: m, t: t, pivot: t.lay.preset.pivoted}
	if err := p.days(); err != nil {
		return err
	}
	for {
		w := newWatcher(ctxReader{ctx, io.NewSectionReader(m.f, 0, m.size)}, r.s.cfg.Limits.File)
		before := m.lines
		var made lines
		fits := func() bool { return !w.broken || cs.name != utf8Name && (!cs.auto || !w.wide) }
		err := r.replaceIf(u, m, func(to io.Writer) (bool, error) {
			if _, err := io.CopyN(io.Discard, w, int64(cs.bom)); err != nil {
				return false, err
			}
			out := newTableWriter(to)
			if err := p.table(cs.decode(w), out, before); err != nil {
				return false, err
			}
			made = out.lines
			return fits(), out.flush()
		})
		if err != nil {
			return err
		}
		if made != nil && fits() {
			if cs.why == notUTF8 {
				r.note("%s is not valid UTF-8 and was read as Windows-1252", u.name)
			}
			m.pivoted = &Header{Line: p.place(t.line), Columns: t.header}
			m.lines = made
			break
		}
		if w.wide || !cs.auto {
			return &Error{Message: "the file mixes UTF-8 with bytes that are not", HintText: "export it again, as UTF-8; or set csv.encoding"}
		}
		cs = charset{name: cp1252Name, why: notUTF8}
	}
	first, last := p.cells[0].day, p.cells[0].day
	for _, c := range p.cells {
		first, last = min(first, c.day), max(last, c.day)
	}
	m.how = append(m.how, timesheet.Decision{
		What: "days", Value: fmt.Sprintf("%s to %s, a column each", first, last), Evidence: u.name + ":" + strconv.Itoa(m.pivoted.Line) + p.year,
	})
	return nil
}

// pivoting is one such export on its way.
type pivoting struct {
	r     *Reading
	u     *unit
	m     *made
	t     *table
	pivot *pivot
	cells []dayCell
	year  string // how the year was found where the header has none
}

// place is the line of the file itself.
func (p *pivoting) place(line int) int {
	if p.m.lines != nil {
		return p.m.lines.at(line)
	}
	return line
}

// days finds the columns that are days.
func (p *pivoting) days() error {
	wrong := func(what, hint string) error {
		return &Error{Line: p.place(p.t.line), Message: what, HintText: hint}
	}
	var short [][]string
	for i, h := range p.t.header {
		h = fold(h)
		if day, err := timesheet.ParseDay(h); err == nil {
			if slices.ContainsFunc(p.cells, func(c dayCell) bool { return c.day == day }) {
				return wrong("the day "+h+" stands in the header twice", "export it again")
			}
			p.cells = append(p.cells, dayCell{i, day})
		} else if m := shortDay.FindStringSubmatch(h); m != nil {
			short = append(short, m)
			p.cells = append(p.cells, dayCell{at: i})
		}
	}
	switch {
	case len(p.cells) == 0:
		return wrong("this is "+p.t.lay.preset.title+", but no column is a day", "days are written as 2026-03-02 or Mon 3/2; export it again")
	case len(short) == 0:
		return nil
	case len(short) != len(p.cells):
		return wrong("the days in the header are written in two ways", "export it again")
	}
	first, ok := fitDays(short, p.r.s.today())
	if !ok {
		return wrong("the days in the header follow one another in no year", "export it again, best with dates such as 2026-03-02")
	}
	for i := range p.cells {
		p.cells[i].day = first + timesheet.Day(i)
	}
	p.year = fmt.Sprintf(", the newest year in which %s comes then", short[0][0])
	return nil
}

// fitDays finds the newest day, not after today, from which on the days of a
// header follow one another, with month and day in whichever order.
func fitDays(short [][]string, today timesheet.Day) (first timesheet.Day, ok bool) {
	fits := func(day timesheet.Day, month, of int) bool {
		for i, m := range short {
			t := (day + timesheet.Day(i)).Time()
			if !strings.EqualFold(t.Format("Mon"), m[1]) || strconv.Itoa(int(t.Month())) != strings.TrimPrefix(m[month], "0") || strconv.Itoa(t.Day()) != strings.TrimPrefix(m[of], "0") {
				return false
			}
		}
		return true
	}
	for year := today.Time().Year(); year >= 2000; year-- {
		for _, order := range [][2]int{{2, 3}, {3, 2}} {
			month, _ := strconv.Atoi(short[0][order[0]])
			of, _ := strconv.Atoi(short[0][order[1]])
			if month < 1 || month > 12 {
				continue
			}
			if day := timesheet.Date(year, time.Month(month), of); day <= today && fits(day, order[0], order[1]) {
				return day, len(short) > 1 || short[0][2] == short[0][3] || of > 12
			}
		}
	}
	return 0, false
}

// table writes a row for each cell with hours.
func (p *pivoting) table(in io.Reader, out *tableWriter, before lines) error {
	var plain []int // columns that are no days
	header := []string{}
	for i, h := range p.t.header {
		if h != refusedHeader && !slices.ContainsFunc(p.cells, func(c dayCell) bool { return c.at == i }) {
			plain = append(plain, i)
			header = append(header, h)
		}
	}
	n := len(header)
	if err := out.row(append(header, dayColumn, cellColumn, refusedHeader), p.place(p.t.line)); err != nil {
		return err
	}
	folded := foldAll(p.t.header)
	fr := newFramer(in, p.t.delim, &p.r.s.cfg.Limits, nil)
	var rec frame
	for {
		err := fr.next(&rec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.line <= p.t.line {
			continue
		}
		line := rec.line
		if before != nil {
			line = before.at(line)
		}
		fields := rec.fields(p.t.delim)
		row := make([]string, n+3)
		why := rec.bad
		switch {
		case why != "":
		case slices.Equal(foldAll(fields), folded):
			return &Error{Line: line, Message: fmt.Sprintf("a second header stands here (the first is on line %d): this is more than one table", p.place(p.t.line)), HintText: "export one table per file"}
		case rec.data[len(rec.data)-1] != '\n' && len(fields) < len(p.t.header):
			return &Error{Line: line, Message: fmt.Sprintf("the file is cut off in its last line, which has %s; the header has %d", plural(len(fields), "value", "values"), len(p.t.header)), HintText: "export it again"}
		case len(fields) != len(p.t.header):
			why = fmt.Sprintf("the row has %s, the header has %d", plural(len(fields), "value", "values"), len(p.t.header))
		}
		for k, i := range plain {
			if i < len(fields) {
				row[k] = fields[i]
			}
		}
		if why == "" {
			why = p.check(fields, folded)
		}
		wrote := false
		for _, c := range p.cells {
			if c.at >= len(fields) {
				continue
			}
			value := strings.TrimSpace(fields[c.at])
			if value == "" || value == "-" || strings.HasPrefix(why, skipMark) || rec.bad != "" {
				continue
			}
			wrote = true
			row[n], row[n+1], row[n+2] = c.day.String(), value, why
			if err := out.cell(row, line, c.at+1); err != nil {
				return err
			}
		}
		if wrote {
			continue
		}
		if row[n+2] = why; why == "" {
			row[n+2] = skipMark + string(timesheet.ReasonZero)
		}
		if err := out.cell(row, line, 1); err != nil {
			return err
		}
	}
}

// check tells why a row is no work, or why it is refused.
func (p *pivoting) check(fields, folded []string) string {
	named := ""
	for _, want := range p.pivot.persons {
		if i := slices.Index(folded, want); i >= 0 && named == "" {
			named = fold(fields[i])
		}
	}
	if first := fold(fields[0]); named == "" || strings.HasPrefix(first, "total") || strings.HasPrefix(named, "total") {
		return skipMark + string(timesheet.ReasonSubtotal)
	}
	at := slices.Index(folded, p.pivot.total)
	if at < 0 {
		return ""
	}
	total, _, err := timesheet.ParseClock(strings.TrimSpace(fields[at]))
	if err != nil {
		return ""
	}
	sum, slack := timesheet.Seconds(0), timesheet.Seconds(1)
	for _, c := range p.cells {
		value := strings.TrimSpace(fields[c.at])
		if value == "" || value == "-" {
			continue
		}
		sec, exact, err := timesheet.ParseClock(value)
		if err != nil {
			return "" // refused as what it is
		}
		sum += sec
		if slack++; !exact {
			slack += 59
		}
	}
	if off := max(sum-total, total-sum); off > slack {
		return fmt.Sprintf("the days of the row add up to %s, but %s says %s", sum.Clock(), strings.TrimSpace(p.t.header[at]), total.Clock())
	}
	return ""
}
