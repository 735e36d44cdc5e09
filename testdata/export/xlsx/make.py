#!/usr/bin/python3
"""Makes the workbooks here, with openpyxl and XlsxWriter (Debian: python3-openpyxl, python3-xlsxwriter)."""
import csv
import datetime as dt

import openpyxl
import xlsxwriter
from openpyxl.utils.datetime import CALENDAR_MAC_1904

HEADER = ["User", "Date", "Start", "End", "Duration", "Project", "Notes", "Rate"]
ROWS = [
    ("ada", dt.date(2026, 11, 2), dt.time(9, 0), dt.time(10, 30, 15), dt.timedelta(hours=1, minutes=30, seconds=15), "Website", "Fix cart, part 2\nsecond line", 95),
    ("ada", dt.date(2026, 11, 3), dt.time(22, 0), dt.time(1, 0), dt.timedelta(hours=3), "Website", None, None),
    ("ben", dt.date(2026, 11, 3), dt.time(8, 15), dt.time(11, 15), dt.timedelta(hours=3), "Café", "=1+1", 95.5),
]


def fill(sheet, first):
    for c, h in enumerate(HEADER, 1):
        sheet.cell(first, c, h)
    for r, row in enumerate(ROWS, first + 2):  # a blank row between
        for c, v in enumerate(row, 1):
            cell = sheet.cell(r, c)
            if isinstance(v, str) and v.startswith("="):
                cell.value, cell.data_type = v, "s"
            elif v is not None:
                cell.value = v
            if isinstance(v, dt.timedelta):
                cell.number_format = "[h]:mm:ss"


book = openpyxl.Workbook()
book.active.title = "Cover"
book.active["A1"] = "Hours of November"
sheet = book.create_sheet("Hours")
sheet["A1"] = "Exported on"
sheet["B1"] = dt.datetime(2026, 12, 1, 12, 0)
fill(sheet, 3)
secret = book.create_sheet("Old")
fill(secret, 1)
secret.sheet_state = "hidden"
book.save("hours.xlsx")

book = openpyxl.Workbook()
book.epoch = CALENDAR_MAC_1904
fill(book.active, 1)
book.save("hours-1904.xlsx")

# Numbers as formulas leave them, and texts within the cells.
book = xlsxwriter.Workbook("decimal.xlsx", {"constant_memory": True})
sheet = book.add_worksheet("Zeiten")
day = book.add_format({"num_format": "dd.mm.yyyy"})
two = book.add_format({"num_format": '0.00 "h"'})
for c, h in enumerate(["User", "Date", "Hours", "Project"]):
    sheet.write(0, c, h)
for r, (hours, formula) in enumerate([(1.1, None), (80 / 60, "=80/60"), (0.1 + 0.2, "=0.1+0.2"), (7, None)], 1):
    sheet.write(r, 0, "ada")
    sheet.write_datetime(r, 1, dt.datetime(2026, 11, r), day)
    if formula:
        sheet.write_formula(r, 2, formula, two, hours)
    else:
        sheet.write(r, 2, hours, two)
    sheet.write(r, 3, "Website")
book.close()

# Nobody knows these headers.
book = openpyxl.Workbook()
book.active.append(["Stundenzettel"])
book.active.append([])
book.active.append(["Mitarbeiter", "Tag", "Std", "Projekt", "Satz"])
book.active.append(["ada", dt.date(2026, 11, 2), 1.5, "Website", 95])
book.active.append(["ada", dt.date(2026, 11, 3), 2, "Website"])
book.save("german.xlsx")

# A column a day, with the days as dates and hours as fractions of them.
with open("../presets/hubstaff.csv", newline="") as f:
    rows = list(csv.reader(f))
book = openpyxl.Workbook()
book.active.append(["Weekly report"])
book.active.append([])
days = [i for i, h in enumerate(rows[0]) if h.startswith("2026-")]
for n, row in enumerate(rows, 3):
    for i, v in enumerate(row):
        cell = book.active.cell(n, i + 1)
        if n == 3 and i in days:
            cell.value, cell.number_format = dt.date.fromisoformat(v), "yyyy-mm-dd"
        elif n > 3 and (i in days or rows[0][i] == "Total worked") and v:
            h, m, s = (int(x) for x in v.split(":"))
            cell.value, cell.number_format = dt.timedelta(hours=h, minutes=m, seconds=s), "[h]:mm:ss"
        elif v:
            cell.value = v
book.save("hubstaff.xlsx")

# What a person gets who opens Clockify's export in a spreadsheet and saves it as
# a workbook: dates, times and durations have become numbers.
with open("../disguise/plain.csv", newline="") as f:
    rows = list(csv.reader(f))
book = xlsxwriter.Workbook("../disguise/saved.xlsx")
sheet = book.add_worksheet("Detailed report")
formats = {
    "Start Date": book.add_format({"num_format": "dd/mm/yyyy"}), "End Date": book.add_format({"num_format": "dd/mm/yyyy"}),
    "Start Time": book.add_format({"num_format": "hh:mm:ss"}), "End Time": book.add_format({"num_format": "hh:mm:ss"}),
    "Duration (h)": book.add_format({"num_format": "[hh]:mm:ss"}),
}
for n, row in enumerate(rows):
    for i, (h, v) in enumerate(zip(rows[0], row)):
        if n == 0 or not v:
            sheet.write_string(n, i, v)
        elif h.endswith("Date"):
            sheet.write_datetime(n, i, dt.datetime.strptime(v, "%d/%m/%Y"), formats[h])
        elif h in formats:
            hours, minutes, seconds = (int(x) for x in v.split(":"))
            sheet.write_number(n, i, (hours * 3600 + minutes * 60 + seconds) / 86400, formats[h])
        elif h == "Duration (decimal)":
            sheet.write_number(n, i, float(v))
        else:
            sheet.write_string(n, i, v)
book.close()

# Tempo's worklogs as a workbook: days with times are numbers, headers repeat.
with open("../presets/tempo.csv", newline="") as f:
    rows = list(csv.reader(f))
book = openpyxl.Workbook()
for n, row in enumerate(rows, 1):
    for i, v in enumerate(row):
        cell = book.active.cell(n, i + 1)
        if n > 1 and rows[0][i] == "Work date":
            cell.value = dt.datetime.fromisoformat(v)
            cell.number_format = "yyyy-mm-dd hh:mm" if " " in v else "yyyy-mm-dd"
        elif n > 1 and rows[0][i] == "Hours":
            cell.value = float(v)
        elif v:
            cell.value = v
book.save("../presets/tempo.xlsx")
