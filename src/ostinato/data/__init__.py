"""From a user's files to sequences that a task can learn from, and nothing of how it learns.

================  ====================================================================================================
files             which files a name, a folder or a glob stands for; whether they changed while they were read
table             rows and columns of CSV, TSV, JSON lines, Parquet and plain text, memory-mapped where they are large
sources, stored   the reader of each format (delimited, json_lines, parquet, plain_text), and tables kept on the disk
columns           what a column holds, and how two kinds meet
preview           the first rows of a file and what its columns hold, for guessing what the user wants
formats           the table of accepted layouts, with an example and a command each
layouts           sequences out of files: a row each, long format, a file for each class, ``.ts``
sequences         what every layout gives: inputs, targets, groups, and where each came from
ts_format, conll  two formats that are no tables
times             time stamps as seconds, and the step between them
gaps              missing values: an error, unless the user says how to fill; and resampling
labels            classes and how often they occur; labels that differ only in case or space
split, parts      training, validation and test parts that share no row
buckets           batches of similar length, bounded by tokens
vocabulary        tokens ↔ numbers: the known ones, or a hash of any
tokens            a text as characters, words or subwords
================  ====================================================================================================

Every complaint about a file is a ``DataError`` that names the file, the line or the column, and the way out.
"""
