"""The same crawl with Scrapy: the alert summaries, the signatures, and the data of each signature, one row of the feed each.

usage: scrapy runspider spider.py -a url=URL -s JOBDIR=FOLDER -o FILE.jsonl     (the details of jobs are not asked for)
"""

import json
from urllib.parse import urlencode

import scrapy

FIRST_DAY, LAST_DAY = "2026-06-28T23:59:59", "2026-11-22T08:00:01"


class TreeherderSpider(scrapy.Spider):
    name = "treeherder"
    custom_settings = {"ROBOTSTXT_OBEY": False, "LOG_LEVEL": "ERROR", "TELNETCONSOLE_ENABLED": False, "RETRY_TIMES": 5}

    async def start(self):
        alerts = {"page": 1, "hide_related_and_invalid": True, "limit": 100, "timerange": 95084313}
        yield self.ask("/api/performance/alertsummary/", alerts, self.alerts)
        yield self.ask("/api/project/autoland/performance/signatures/", {"start_date": FIRST_DAY}, self.signatures)

    def ask(self, path, query, callback):
        return scrapy.Request(f"{self.url}{path}?{urlencode(query)}", callback)

    def alerts(self, response):
        page = json.loads(response.body)
        if page["next"]:
            yield response.follow(page["next"], self.alerts)
        for summary in page["results"]:
            yield {"alert_summary": summary}

    def signatures(self, response):
        for signature in json.loads(response.body).values():
            window = {"startday": FIRST_DAY, "endday": LAST_DAY, "all_data": True, "replicates": False}
            query = {"repository": "autoland", "signature": signature["id"], **window}
            yield self.ask("/api/performance/summary/", query, self.data)
            yield {"signature": signature}

    def data(self, response):
        for row in json.loads(response.body):
            yield {"signature_id": row["signature_id"], "jobs": row["data"]}
