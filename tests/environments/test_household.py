"""What is taken out of a planning problem, and what must stay."""

from __future__ import annotations

from opdkit.environments.household import without_the_rest

DOMAIN = """
(:action CleanObject :precondition (and (receptacleType ?r SinkBasinType) (holds ?a ?o)))
; (:action Old :precondition (receptacleType ?r ShelfType))
"""
PROBLEM = """(define (problem one)
(:objects
agent1 - agent
loc_1 - location
Sink_1 - receptacle
Shelf_1 - receptacle
Box_1 - receptacle
Table_1 - receptacle
Cup_1 - object
Cup_2 - object
Fork_1 - object
CupType - otype
)
(:init
(atLocation agent1 loc_1)
(receptacleType Sink_1 SinkBasinType)
(receptacleType Shelf_1 ShelfType)
(receptacleType Box_1 BoxType)
(openable Box_1)
(receptacleType Table_1 TableType)
(objectType Cup_1 CupType)
(objectType Cup_2 CupType)
(objectType Fork_1 ForkType)
(inReceptacle Cup_1 Box_1)
(inReceptacle Cup_2 Table_1)
(inReceptacle Fork_1 Shelf_1)
)
(:goal (exists (?o - object ?r - receptacle) (and (objectType ?o CupType) (receptacleType ?r TableType))))
)"""


def test_what_no_solution_needs_is_left_out_and_the_rest_stays_as_it_is() -> None:
    kept = without_the_rest(DOMAIN, PROBLEM)
    gone = ("Fork_1", "Shelf_1")  # no goal names a fork; the shelf holds nothing else, and is in a comment alone
    assert kept.splitlines() == [line for line in PROBLEM.splitlines() if not any(name in line for name in gone)]
    assert kept.count("Fork_1") == 0 < kept.count("Sink_1") < kept.count("Box_1")


def test_names_are_whole_words() -> None:
    longer = PROBLEM.replace("Cup_1", "Fork_1_cup")
    assert "Fork_1_cup" in without_the_rest(DOMAIN, longer)
