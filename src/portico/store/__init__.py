"""What an edge remembers: tables, migrations, one repository per aggregate."""
